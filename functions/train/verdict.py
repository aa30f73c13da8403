"""The gate's result on a version."""

from __future__ import annotations

from typing import Literal

from common.documents import Document

# `rejected` is no result of the gate: a rollback writes it on the version's page.
Decision = Literal["promoted", "kept", "incomparable", "superseded", "rejected"]


class Verdict(Document):
    """`gain` and `bound` (one-sided 99 %) are of the metric, if champion and challenger were compared."""

    decision: Decision
    reason: str
    score: float
    champion_score: float | None = None
    gain: float | None = None
    bound: float | None = None
