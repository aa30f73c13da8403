"""What one fetch did, counted as it goes."""

from __future__ import annotations

from dataclasses import dataclass

from common.json_types import Json
from fetch_batch.validation import ValidationReport

STOPPED = "stopped at the time limit of one call; the next call continues"


@dataclass
class FetchStats:
    """Samples stored and received again, rows quarantined, requests failed; `batch` is the newest one.

    `stopped`: the call's time ended before the source did.
    """

    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    failed: int = 0
    batch: int | None = None
    exhausted: bool = False
    stopped: bool = False
    message: str = ""

    def add(self, batch: int, stored: bool, report: ValidationReport) -> None:
        self.batch = batch
        if stored:
            self.stored += 1
            self.quarantined += report.rejected_rows
        else:
            self.duplicate += 1

    def status(self) -> str:
        """The status of fetch-batch's answer."""
        if self.stored or self.duplicate:
            return "collected"
        if self.exhausted:
            return "complete"
        if self.failed:
            return "source-unavailable"
        return "collected" if self.stopped else "complete"

    def counts(self) -> dict[str, Json]:
        return {
            "stored": self.stored,
            "duplicate": self.duplicate,
            "quarantined": self.quarantined,
            "batch": self.batch,
        }
