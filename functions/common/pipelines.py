"""A pipeline: one classification task, defined by one TOML file and by nothing else in the code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from common.errors import NotFound
from common.inference import contract
from common.inference.contract import Kind, Number

# The weights of the first are installed with train; the others are those of keras.applications; "none": train
# from scratch.
INSTALLED, FROM_SCRATCH, IMAGENET = "efficientnet_lite0", "none", "imagenet"
Backbone = Literal[
    "efficientnet_lite0", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_v2_b0", "resnet50", "none"
]
# The side of pictures in pixels: for a network that knows photographs, and for one trained from scratch.
IMAGE_SIZE, FROM_SCRATCH_IMAGE_SIZE = 160, 64
SCHEMES = ("http://", "https://", "s3://")
SOURCE_TYPES = {"image": ("images",), "tabular": ("batch-api", "table")}
RESERVED = ("openapi.json", "metrics", "healthz", "readyz")


def _text(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    if text != text.strip():
        raise ValueError(f"{text!r} begins or ends with a space")
    return text


def folder_name(text: str) -> str:
    if text in (".", "..") or re.search(r"[/\\\x00-\x1f]", text):
        raise ValueError(f"{text!r} can't be the name of a folder")
    return text


def _pipeline_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", text) or text in RESERVED:
        raise ValueError("must consist of lower-case letters, digits and '-', and not be a path of the HTTP API")
    return text


def _weights_path(path: str) -> str:
    if "${" in path:
        raise ValueError("${NAME} is not expanded here, only in [source]")
    if not path or ("://" in path and not path.startswith(SCHEMES)):
        raise ValueError(f"must be the path of a file, or begin with {', '.join(SCHEMES)}")
    return path


Text = Annotated[str, AfterValidator(_text)]
FolderName = Annotated[str, AfterValidator(_text), AfterValidator(folder_name)]
Positive = Annotated[Number, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


def _shown(column: str) -> str:
    return column.replace("_", " ")


# An unknown key is a mistake, most often a misspelt one.
FILE = ConfigDict(frozen=True, strict=True, extra="forbid")


class TomlTable(BaseModel):
    """A table of a pipeline file."""

    model_config = FILE


class Title(TomlTable, contract.Title):
    """A text in English and Spanish; without Spanish the English text is used."""

    model_config = FILE

    es: str = Field(default_factory=lambda data: data["en"])


class Source(TomlTable):
    """Where the raw data come from. ${NAME} and ${NAME:-default} are resolved when fetch-batch collects."""

    type: Literal["batch-api", "table", "images"]
    url: str = Field("", description="batch-api: the address of the service")
    path: str = Field("", description="table, images: a file, a folder, an archive, a URL or an s3:// prefix")
    params: dict[str, str] = Field({}, description="batch-api: query parameters")
    batches: Count | None = Field(None, description="batch-api: how many make the collection complete")
    samples_per_batch: Count = Field(1, description="batch-api: requests in one window")
    examples_per_fetch: Count = Field(500, description="table, images: rows or pictures in one fetch")
    min_interval_s: Annotated[Number, Field(ge=0)] = Field(60, description="seconds between two fetches at least")


class Column(TomlTable, contract.Column):
    """A column of a table, in the source's order. Without a title its name is shown."""

    model_config = FILE

    name: Text
    title: Title = Field(default_factory=lambda data: Title(en=_shown(data["name"])))
    cyclic: Positive | None = Field(
        None, description="the period of a number that wraps around, such as 360 for degrees"
    )
    values: list[Text] | None = Field(None, description="closes the list of categories")

    @model_validator(mode="before")
    @classmethod
    def _spanish_title_alone(cls, given: Any) -> Any:
        match given:
            case {"name": str(name), "title": {"es": str(spanish)} as title} if "en" not in title:
                return {**given, "title": {"en": _shown(name), "es": spanish}}
        return given


class Label(TomlTable, contract.Label):
    """A class. `folders`: further names of the folders that hold its pictures."""

    model_config = FILE

    value: Text
    en: str = Field(default_factory=lambda data: data["value"])
    es: str = Field(default_factory=lambda data: data["en"])
    folders: list[FolderName] = []


class Target(TomlTable):
    column: str = Field("", description="kind tabular: the column that holds the label")
    labels: Annotated[list[Label], Field(min_length=2)]


class Trigger(TomlTable):
    new_examples: Count = 1000


class Weights(TomlTable):
    """The file that a backbone's weights are read from: a path, an http(s) URL or an s3:// key, known by its sha256."""

    path: Annotated[str, AfterValidator(_weights_path)]
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]


def _weights_kind(given: Any) -> str:
    return "published" if isinstance(given, str) else "file"


WeightsKey = Annotated[
    Annotated[Weights, Tag("file")] | Annotated[Literal["imagenet"], Tag("published")], Discriminator(_weights_kind)
]


class Train(TomlTable):
    """`backbone`: what a network for pictures starts from; without `weights`, its published ones."""

    budget_s: Positive = 300
    seed: int = 7
    image_size: Annotated[int, Field(ge=32, le=512)] | None = None
    backbone: Backbone | None = None
    weights: WeightsKey | None = None


class Gate(TomlTable):
    metric: Literal["accuracy", "macro_f1"] = "macro_f1"
    floor: Number = 0.5
    min_gain: Number = 0.002


class PipelineHead(BaseModel):
    """What classify needs of a pipeline file; the contract of the champion has the rest."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    name: Annotated[str, AfterValidator(_pipeline_name)]
    kind: Kind
    title: Title

    @property
    def identity(self) -> tuple[str, Kind]:
        """What a bundle is bound to."""
        return self.name, self.kind


class Pipeline(PipelineHead):
    """One task. `columns` are in the source's order, the target among them; empty for kind image."""

    model_config = ConfigDict(extra="forbid", title="Sabueso pipeline")

    source: Source
    columns: list[Column] = []
    target: Target
    trigger: Trigger = Trigger()
    train: Train = Train()
    gate: Gate = Gate()

    @model_validator(mode="before")
    @classmethod
    def _picture_defaults(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("kind") != "image" or not isinstance(given.get("train", {}), dict):
            return given
        train = {"backbone": INSTALLED, **given.get("train", {})}
        size = FROM_SCRATCH_IMAGE_SIZE if train["backbone"] == FROM_SCRATCH else IMAGE_SIZE
        return {**given, "train": {"image_size": size, **train}}

    @property
    def inputs(self) -> list[Column]:
        """The columns that a caller gives: all but the target."""
        return [column for column in self.columns if column.name != self.target.column]

    @property
    def labels(self) -> list[Label]:
        return self.target.labels

    @property
    def label_values(self) -> tuple[str, ...]:
        return tuple(label.value for label in self.labels)

    @property
    def image_size(self) -> int:
        """Only for kind image; raises TypeError otherwise."""
        if self.train.image_size is None:
            raise TypeError(f"{self.name} has no pictures")
        return self.train.image_size

    @property
    def backbone(self) -> str:
        """Of kind image; empty for rows."""
        return self.train.backbone or ""

    @property
    def weights(self) -> Weights | None:
        """The file to read the backbone's weights from, if not the published ones."""
        return self.train.weights if isinstance(self.train.weights, Weights) else None

    @property
    def is_pretrained(self) -> bool:
        """Whether its network starts from one that knows pictures already."""
        return self.kind == "image" and self.train.backbone != FROM_SCRATCH


P = TypeVar("P", bound=PipelineHead)


def pick(pipelines: Mapping[str, P], name: str) -> P:
    """The pipeline of that name. Raises NotFound, listing the names that exist."""
    if name not in pipelines:
        raise NotFound(f"There is no pipeline {name!r}; there are: {', '.join(sorted(pipelines))}")
    return pipelines[name]
