"""The settings of fetch-batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from common.inference.picture_files import PictureLimits
from common.settings import Count, Positive, StoreSettings, Url


class FetchSettings(StoreSettings, PictureLimits):
    """`environment` holds the values of ${NAME} in pipeline files."""

    gateway: Url = Field(
        "http://127.0.0.1:8080", alias="OPENFAAS_URL", description="the gateway through which fetch-batch calls train"
    )
    fetch_s: Positive = Field(
        18, alias="SABUESO_FETCH_S", description="seconds after which one call of fetch-batch stops asking the source"
    )
    source_timeout_s: Positive = Field(
        10, alias="SABUESO_SOURCE_TIMEOUT_S", description="time limit of one request to a source, in seconds"
    )
    min_interval_s: Positive | None = Field(
        None, alias="SABUESO_MIN_INTERVAL_S", description="overrides `min_interval_s` of every pipeline"
    )
    samples_per_batch: Count | None = Field(
        None, alias="SABUESO_SAMPLES_PER_BATCH", description="overrides `samples_per_batch` of every pipeline"
    )
    trigger: Literal["on", "off"] = Field(
        "on", alias="SABUESO_TRIGGER", description="`off`: fetch-batch never starts a training by itself"
    )


def read_settings(environment: Mapping[str, str]) -> FetchSettings:
    """Raises WrongSettings with every mistake."""
    return FetchSettings.read(environment)
