"""What can go wrong while answering."""

from __future__ import annotations

from common.errors import Unavailable


class NoModel(Unavailable):
    kind, title = "no-model", "No model available"

    def __init__(self, pipeline: str, why: str) -> None:
        super().__init__(f"Pipeline {pipeline!r} has no champion: {why}")
        self.pipeline = pipeline
