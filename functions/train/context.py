"""What every step of a training needs: settings, services, and how to report progress."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import AlreadyRunning, Conflict, StoreUnavailable
from common.json_types import Json
from common.logging import log
from common.pipelines import Pipeline
from common.storage.executions import Execution
from common.storage.leases import Lease
from common.storage.object_store import ObjectStore
from common.storage.training_record import TrainingRecord
from train.registry import VersionRegistry
from train.retry import QUIET_S, RetryPolicy, log_waiting
from train.settings import TrainSettings


def pictures_folder(settings: TrainSettings, pipeline: str) -> Path:
    """Where trainings of that pipeline keep decoded pictures."""
    return settings.scratch / "pictures" / pipeline


@dataclass
class TrainingContext:
    """One execution of train. `reading_s`: seconds that reading the examples took, part of the budget."""

    settings: TrainSettings
    store: ObjectStore
    pipeline: Pipeline
    execution: Execution[TrainingRecord]
    lease: Lease
    registry: VersionRegistry = field(init=False)
    retry: RetryPolicy = field(init=False)
    reading_s: float = 0.0
    _progress: float = 0.0
    _quiet_until: float = 0.0

    def __post_init__(self) -> None:
        self.registry = VersionRegistry(self.settings)
        self.retry = RetryPolicy(self.settings.retry_s, self._report_waiting)

    @property
    def record(self) -> TrainingRecord:
        return self.execution.record

    @property
    def budget_s(self) -> float:
        return self.settings.budget_s(self.pipeline.name, self.pipeline.train.budget_s)

    @property
    def pictures(self) -> Path:
        return pictures_folder(self.settings, self.pipeline.name)

    def begin_stage(self, stage: str, progress: float, **facts: Json) -> None:
        """Record the stage; progress never goes back. Raises AlreadyRunning if the lease was lost."""
        self._require_lease()
        self._progress = max(progress, self._progress)
        self.retry(lambda: self._update(stage=stage, progress=round(self._progress, 4), **facts))

    def report(self, stage: str, progress: float) -> None:
        """Like `begin_stage`, for progress within a fit: does not wait for a store that is down."""
        self._require_lease()
        if time.monotonic() < self._quiet_until:
            return
        self._progress = max(progress, self._progress)
        try:
            self._update(stage=stage, progress=round(self._progress, 4))
        except StoreUnavailable as error:
            log("progress not recorded", logging.WARNING, pipeline=self.pipeline.name, why=error.detail)
            self._quiet_until = time.monotonic() + QUIET_S

    def finish(self, **facts: Json) -> None:
        """End the execution as `finished`."""
        self.retry(lambda: self.execution.end("finished", progress=1.0, stage="done", **facts))

    def _require_lease(self) -> None:
        if self.lease.lost:
            raise AlreadyRunning("the lease was lost to another execution")

    def _update(self, **facts: Json) -> None:
        try:
            self.execution.update(**facts)
        except Conflict:
            raise AlreadyRunning("another execution resumed this one") from None

    def _report_waiting(self, reason: str | None) -> None:
        log_waiting(self.pipeline.name, reason)
        with contextlib.suppress(StoreUnavailable):
            self._update(reason=f"waiting: {reason}" if reason else "")
