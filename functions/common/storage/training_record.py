"""The record of a training: train writes it; fetch-batch reads it to decide when to train again."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from common.documents import RedactedText, WithoutAccount
from common.storage.executions import ExecutionRecord


class TrainingRecord(ExecutionRecord):
    """An execution of train. `received`: examples in the samples it read, as fetch-batch counts them.

    `ancestors`: the executions that this one resumed, oldest first. `sizes`: examples by split.
    """

    KIND: ClassVar[str] = "train"

    progress: float = 0.0
    stage: str = "starting"
    force: bool = False
    metrics: dict[str, float] = {}
    decision: str | None = None
    reason: RedactedText = ""
    version: str | None = None
    run_id: str | None = None
    run_url: WithoutAccount | None = None
    snapshot: str | None = None
    settings_fingerprint: str | None = Field(None, alias="settings")
    examples: int = 0
    received: int = 0
    conflicting: int = 0
    sizes: dict[str, int] = {}
    seconds: float | None = None
    resumed_from: str | None = None
    resumed_snapshot: str | None = None
    ancestors: list[str] = []
