"""What decides the result of a training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingKey:
    """A snapshot and a settings fingerprint: the same two give the same version."""

    snapshot: str
    settings_fingerprint: str
