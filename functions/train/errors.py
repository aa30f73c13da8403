"""What can go wrong in a training."""

from __future__ import annotations

from common.errors import SabuesoError


class TrainingFailed(SabuesoError):
    kind, title = "training-failed", "Training failed"
