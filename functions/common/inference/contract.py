"""contract.json: what classify and plain MLflow need to know of a version to answer as in training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from common.documents import Document
from common.json_types import Json

Kind = Literal["image", "tabular"]
# TOML and JSON tell whole numbers from others, and a settings fingerprint depends on the spelling.
Number = int | float


class Title(Document):
    en: str
    es: str


class Label(Document):
    value: str
    en: str
    es: str

    @property
    def title(self) -> dict[str, str]:
        return {"en": self.en, "es": self.es}


class Column(Document):
    """A column that a caller gives. Outside min..max, or none of `values`: the row is refused."""

    name: str
    type: Literal["number", "category"]
    title: Title
    unit: str | None = None
    min: Number | None = None
    max: Number | None = None
    cyclic: Number | None = None
    values: list[str] | None = None


class ContractColumn(Column):
    """A column plus what training saw in it: three typical values and the known categories.

    Typical are median and quartiles of a number, median first, or the most frequent categories in that order.
    """

    examples: list[float | str] = []
    known: list[str] | None = None


class NumberFeature(Document):
    type: Literal["number"] = "number"
    name: str
    centre: float
    scale: float


class CyclicFeature(Document):
    type: Literal["cyclic"] = "cyclic"
    name: str
    period: float


class CategoryFeature(Document):
    """Index 0 is the slot that all unseen categories share."""

    type: Literal["category"] = "category"
    name: str
    vocabulary: list[str]


Feature = NumberFeature | CyclicFeature | CategoryFeature


class RowFeatures(Document):
    """How rows are encoded, feature by feature, in the columns' order."""

    columns: list[Feature]


class PictureFeatures(Document):
    """How the network sees a picture: the middle of it as image_size x image_size pixels.

    `centre`: the share of the square (crop "square") or of both sides (crop "none") that is seen. A JPEG is decoded at
    reduced scale if at least `least_side` pixels of each side remain. The defaults are those of the first contracts.
    """

    image_size: int
    centre: float = 1.0
    crop: Literal["square", "none"] = "none"
    least_side: int | None = None


class SplitRule(Document):
    salt: str
    fractions: tuple[float, ...]


class Thresholds(Document):
    """`sure`: from which confidence an answer is sure (1: never), `error`: the error rate that sure answers keep,
    `novelty`: beyond which an input is unknown. The first contracts had no `error`.
    """

    sure: float
    novelty: float
    error: float | None = None


class Interval(Document):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Metrics(Document):
    """Figures on the holdout, which both model cards show.

    A version without sure answers has no `sure_error`; early ones have only the first.
    """

    holdout_size: int
    accuracy: Interval
    macro_f1: Interval
    log_loss: Interval
    calibration_error: Interval
    calibration_error_ideal: Interval | None = None
    sure_share: Interval | None = None
    unknown_share: Interval | None = None
    sure_error: Interval | None = None

    def intervals(self) -> dict[str, Interval]:
        """The figures that there are, by name."""
        return {name: value for name, value in self if isinstance(value, Interval)}


class LabelMetrics(Document):
    """Figures of one label; `support` is its number of examples in the holdout."""

    label: str
    support: int
    precision: Interval
    recall: Interval


class Contract(Document):
    """Everything but the network itself. `files`: sha256 by name; `hmac` binds all under the bundle key."""

    format: int = 1
    pipeline: str
    kind: Kind
    title: Title
    labels: list[Label]
    target: str
    columns: list[ContractColumn] = []
    features: RowFeatures | PictureFeatures
    split: SplitRule
    temperature: float
    thresholds: Thresholds
    metrics: Metrics
    per_class: list[LabelMetrics]
    snapshot: str
    settings_fingerprint: str = Field(alias="settings")
    examples: int
    made_up: bool
    git_commit: str
    trained_at: str
    files: dict[str, str] = {}
    hmac: str = ""

    @property
    def label_values(self) -> list[str]:
        return [label.value for label in self.labels]

    @property
    def row_features(self) -> list[Feature]:
        """Only for kind tabular; raises TypeError otherwise."""
        if not isinstance(self.features, RowFeatures):
            raise TypeError(f"{self.pipeline} takes pictures, not rows")
        return self.features.columns

    @property
    def picture_features(self) -> PictureFeatures:
        """Only for kind image; raises TypeError otherwise."""
        if not isinstance(self.features, PictureFeatures):
            raise TypeError(f"{self.pipeline} takes rows, not pictures")
        return self.features

    def unsigned(self) -> dict[str, Json]:
        """The contract as plain JSON without files and signature; absent values are left out."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"files", "hmac"})
