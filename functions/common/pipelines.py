"""A pipeline: one classification task, defined by one TOML file and by nothing else in the code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.errors import FieldError, NotFound, SourceUnavailable, WrongSettings
from common.pipeline_keys import INSTALLED, NOTHING, check

# The side of pictures as a network sees them: one that knows photographs, and one that begins from nothing.
IMAGE_SIZE, NOTHING_SIZE = 160, 64
_PLACE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    title: dict[str, str]
    unit: str = ""
    min: float | None = None
    max: float | None = None
    cyclic: float | None = None
    values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Label:
    """`folders`: further names of the folders that its pictures are in."""

    value: str
    en: str
    es: str
    folders: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, str]:
        return {"value": self.value, "en": self.en, "es": self.es}


@dataclass(frozen=True)
class Source:
    type: str
    url: str = ""
    path: str = ""
    params: dict[str, str] = field(default_factory=dict)
    batches: int = 0
    samples_per_batch: int = 1
    examples_per_fetch: int = 500
    min_interval_s: float = 60


@dataclass(frozen=True)
class Weights:
    """The file that a backbone's weights come from: a path, an http(s) URL or an s3:// key; what counts is its sum."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Train:
    """`backbone`: what a network for pictures begins from; without `weights`, from those installed, or Keras's own."""

    budget_s: float = 300
    seed: int = 7
    image_size: int = 0
    backbone: str = ""
    weights: Weights | None = None


@dataclass(frozen=True)
class Gate:
    metric: str = "macro_f1"
    floor: float = 0.5
    min_gain: float = 0.002


@dataclass(frozen=True)
class Pipeline:
    """One task. `columns` are in the source's order, the target among them; empty for kind image."""

    name: str
    kind: str
    title: dict[str, str]
    source: Source
    columns: tuple[Column, ...]
    target: str
    labels: tuple[Label, ...]
    new_examples: int
    train: Train
    gate: Gate

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The columns that a caller gives: all but the target."""
        return tuple(column for column in self.columns if column.name != self.target)

    @property
    def pretrained(self) -> bool:
        """Whether its network begins from one that knows pictures already."""
        return self.kind == "image" and self.train.backbone != NOTHING

    def input_columns(self) -> list[dict[str, Any]]:
        """The columns that a caller gives, as they stand in a contract."""
        return [
            {key: value for key, value in asdict(column).items() if value not in (None, "")} for column in self.inputs
        ]

    @property
    def label_values(self) -> tuple[str, ...]:
        return tuple(label.value for label in self.labels)


def resolve(text: str, environment: Mapping[str, str]) -> str:
    """Put the environment's values at ${NAME} and ${NAME:-default}. Raises SourceUnavailable if one is missing."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = environment.get(name) or default
        if not found:
            raise SourceUnavailable(f"the pipeline's source needs the variable {name}, which is not set")
        return found

    return _PLACE.sub(value, text)


def _column(raw: dict[str, Any]) -> Column:
    title = raw.get("title", {})
    english = title.get("en", raw["name"].replace("_", " "))
    values = raw.get("values")
    return Column(
        name=raw["name"],
        type=raw["type"],
        title={"en": english, "es": title.get("es", english)},
        unit=raw.get("unit", ""),
        min=raw.get("min"),
        max=raw.get("max"),
        cyclic=raw.get("cyclic"),
        values=None if values is None else tuple(values),
    )


def _train(raw: dict[str, Any], kind: str) -> Train:
    weights = raw.get("weights")
    found = Weights(weights["path"], weights["sha256"].lower()) if isinstance(weights, dict) else None
    defaults: dict[str, Any] = {}
    if kind == "image":
        backbone = raw.get("backbone", INSTALLED)
        defaults = {"backbone": backbone, "image_size": NOTHING_SIZE if backbone == NOTHING else IMAGE_SIZE}
    return Train(**{**defaults, **raw, "weights": found})


def make_pipeline(raw: dict[str, Any]) -> Pipeline:
    """A Pipeline from a parsed pipeline file that `check` found right."""
    labels = raw["target"]["labels"]
    target = raw["target"].get("column", "")
    title = raw["title"]
    return Pipeline(
        name=raw["name"],
        kind=raw["kind"],
        title={"en": title["en"], "es": title.get("es", title["en"])},
        source=Source(**raw["source"]),
        columns=tuple(_column(column) for column in raw.get("columns", [])),
        target=target,
        labels=tuple(
            Label(
                one["value"],
                one.get("en", one["value"]),
                one.get("es", one.get("en", one["value"])),
                tuple(one.get("folders", ())),
            )
            for one in labels
        ),
        new_examples=raw.get("trigger", {}).get("new_examples", 1000),
        train=_train(raw.get("train", {}), raw["kind"]),
        gate=Gate(**raw.get("gate", {})),
    )


def read_pipelines(folder: Path) -> dict[str, Pipeline]:
    """All pipelines of a folder by name.

    Raises WrongSettings with every mistake of every file, each with its key.
    """
    pipelines: dict[str, Pipeline] = {}
    errors: list[FieldError] = []
    files = sorted(folder.glob("*.toml"))
    if not files:
        errors.append(FieldError(str(folder), "holds no pipeline file (NAME.toml)"))
    for file in files:
        try:
            raw = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            errors.append(FieldError(file.name, f"not a TOML file: {error}"))
            continue
        wrong = check(raw, file.stem)
        errors += [FieldError(f"{file.name}: {one.field}", one.detail) for one in wrong]
        if not wrong:
            pipelines[file.stem] = make_pipeline(raw)
    if errors:
        raise WrongSettings("The pipeline files", errors)
    return pipelines


def pick(pipelines: Mapping[str, Pipeline], name: str) -> Pipeline:
    """The pipeline of that name. Raises NotFound, naming those that there are."""
    if name not in pipelines:
        raise NotFound(f"There is no pipeline {name!r}; there are: {', '.join(sorted(pipelines))}")
    return pipelines[name]
