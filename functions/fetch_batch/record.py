"""The record of an execution of fetch-batch."""

from __future__ import annotations

from typing import ClassVar

from common.documents import RedactedText
from common.storage.executions import ExecutionRecord


class FetchRecord(ExecutionRecord):
    """`lease`: nonce of the lease it ran under; `batch`: the newest one. Counts are those of FetchStats."""

    KIND: ClassVar[str] = "fetch-batch"

    status: str | None = None
    lease: str
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    batch: int | None = None
    message: RedactedText = ""
