"""The settings of classify."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from common.container import cores, memory_mb
from common.inference.picture_files import PictureLimits
from common.json_reading import MAX_VALUES
from common.settings import Count, Positive, RegistrySettings

# Machines with more cores scale by replicas. The largest body takes about this much memory in a worker.
MAX_WORKERS, WORKER_MB = 4, 300


def default_workers() -> int:
    """One per core, at most 4, and no more than the container's memory limit allows."""
    memory = memory_mb()
    return min(cores(), MAX_WORKERS, MAX_WORKERS if memory is None else max(1, int(memory / WORKER_MB)))


class ClassifySettings(RegistrySettings, PictureLimits):
    max_pictures: Count = Field(100, alias="SABUESO_MAX_PICTURES", description="pictures of one call")
    max_rows: Count = Field(100_000, alias="SABUESO_MAX_ROWS", description="rows of one call")
    max_values: Count = Field(
        MAX_VALUES,
        alias="SABUESO_MAX_VALUES",
        description="values of one call with rows: rows times columns (or labels, if there are more); commas and "
        "brackets of a JSON text; rows times the square of the columns with `explain=1`",
    )
    max_explained: Count = Field(
        100,
        alias="SABUESO_MAX_EXPLAINED",
        description="rows of one call with `explain=1`: each costs as much as predicting it once for each column",
    )
    refresh_s: Positive = Field(
        15, alias="SABUESO_REFRESH_S", description="seconds between two polls for a new champion"
    )
    workers: Count = Field(
        default_factory=default_workers,
        alias="SABUESO_WORKERS",
        description="worker processes of `classify`; default: one per core that the container may use, at most 4, "
        "and at most one per 300 MB of the memory limit",
    )

    @property
    def worker_count(self) -> int:
        return self.workers


def read_settings(environment: Mapping[str, str]) -> ClassifySettings:
    """Raises WrongSettings with every mistake."""
    return ClassifySettings.read(environment)
