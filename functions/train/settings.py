"""The settings of train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field

from common.inference.picture_files import PictureLimits
from common.redaction import shown_url
from common.settings import Count, Positive, RegistrySettings, StoreSettings, Url

T = TypeVar("T")


def parse_by_pipeline(text: object) -> object:
    """`300` for every pipeline (under the name ""), or `NAME=300,OTHER=60`: the values by pipeline."""
    if not isinstance(text, str):
        return text
    pairs = [part.rpartition("=") for part in text.split(",") if part]
    return {name.strip(): value for name, _, value in pairs}


def value_for(pipeline: str, values: Mapping[str, T]) -> T | None:
    """The value for this pipeline, else the one for all, else None."""
    return values.get(pipeline, values.get(""))


class TrainSettings(StoreSettings, RegistrySettings, PictureLimits):
    mlflow_public: Url | None = Field(
        None, alias="SABUESO_MLFLOW_PUBLIC_URL", description="where people reach MLflow's pages, for links"
    )
    retry_s: Positive = Field(
        900,
        alias="SABUESO_RETRY_S",
        description="seconds that a training keeps retrying while MLflow or the store is down; then a later fetch "
        "resumes it",
    )
    train_memory_mb: Positive | None = Field(
        None,
        alias="SABUESO_TRAIN_MEMORY_MB",
        description="the job is stopped at 85 % of it, pages of mapped files not counted; default: the container's "
        "limit",
    )
    budgets_s: Annotated[Mapping[str, Positive], BeforeValidator(parse_by_pipeline)] = Field(
        {},
        alias="SABUESO_BUDGET_S",
        description="overrides `budget_s`: `SECONDS` for every pipeline, or `NAME=SECONDS,...`",
    )
    epochs_by_pipeline: Annotated[Mapping[str, Count], BeforeValidator(parse_by_pipeline)] = Field(
        {},
        alias="SABUESO_EPOCHS",
        description="epochs of a fit: `NUMBER` for every pipeline, or `NAME=NUMBER,...`; default: as many as fit into "
        "`budget_s`",
    )
    git_commit: str = Field(
        "unknown", alias="SABUESO_GIT_COMMIT", description="commit of this image, recorded with each version"
    )

    @property
    def mlflow_url(self) -> str:
        """Where people reach MLflow's pages."""
        return shown_url(self.mlflow_public or self.mlflow_uri)

    def budget_s(self, pipeline: str, default: float) -> float:
        """Seconds that a training may take: the setting for this pipeline or for all, else the default."""
        own = value_for(pipeline, self.budgets_s)
        return default if own is None else own

    def epochs(self, pipeline: str) -> int | None:
        """Epochs of a fit if a setting fixes them for this pipeline or for all."""
        return value_for(pipeline, self.epochs_by_pipeline)


def read_settings(environment: Mapping[str, str]) -> TrainSettings:
    """Raises WrongSettings with every mistake."""
    return TrainSettings.read(environment)
