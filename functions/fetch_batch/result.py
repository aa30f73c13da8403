"""The result of one call of fetch-batch for one pipeline."""

from __future__ import annotations

from typing import Self

from common.documents import Document
from fetch_batch.fetch_stats import FetchStats


class FetchResult(Document):
    """What fetch-batch answers. `training`: why train was called and what it answered, None if it was not called."""

    pipeline: str
    status: str | None
    stored: int
    duplicate: int
    quarantined: int
    batch: int | None
    training: str | None = None
    message: str

    @classmethod
    def of(cls, pipeline: str, status: str | None, stats: FetchStats) -> Self:
        return cls.model_validate({"pipeline": pipeline, "status": status, **stats.counts(), "message": stats.message})

    @classmethod
    def without_fetch(cls, pipeline: str, status: str, message: str) -> Self:
        """The result of a call that did not contact the source."""
        return cls.of(pipeline, status, FetchStats(message=message))

    def with_training(self, training: str | None) -> Self:
        return self.model_copy(update={"training": training})
