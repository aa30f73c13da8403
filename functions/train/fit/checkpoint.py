"""Stores the plan of a fit, and its state so that it can resume."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.documents import Document
from common.storage import keys
from common.storage.object_store import ObjectStore

# Seconds between two saves, and at least 20 times the duration of the last save: saving takes under 5 % of the time.
MIN_INTERVAL_S, INTERVAL_SAVES = 20.0, 20
PLAN, STATE = "plan.json", "state.npz"


class FitPlan(Document):
    """The plan of a fit. A forced training of the same snapshot repeats it.

    `budget_s`: seconds for the fit, of which measuring the steps took `measured_s`. `size`: examples in a batch.
    """

    epochs: int
    steps: int
    budget_s: float | None = None
    measured_s: float = 0.0
    step_ms: float | None = None
    size: int
    optimizer: str
    learning_rate: float
    weight_decay: float
    smoothing: float


def _call_once(call: Callable[[], Any]) -> Any:
    return call()


@dataclass
class Checkpoint:
    """The checkpoint of one training. `training`: a name made of its snapshot and settings.

    Raises StoreUnavailable once the retries are over.
    """

    store: ObjectStore
    pipeline: str
    training: str
    retry: Callable[[Callable[[], Any]], Any] = _call_once
    saved_at: float = field(default_factory=time.monotonic)
    last_save_s: float = 0.0

    def plan(self) -> FitPlan | None:
        """The plan of an earlier fit of the same snapshot with the same settings, finished or not."""
        key = self._key(PLAN)
        stored = self.retry(lambda: self.store.get(key))
        return None if stored is None else FitPlan.decode(stored.body, key)

    def load(self) -> dict[str, np.ndarray] | None:
        """The state of an earlier, unfinished fit, or None."""
        stored = self.retry(lambda: self.store.get(self._key(STATE)))
        if stored is None:
            return None
        with np.load(io.BytesIO(stored.body), allow_pickle=False) as arrays:
            return dict(arrays)

    def save_plan(self, plan: FitPlan) -> None:
        self.retry(lambda: self.store.put(self._key(PLAN), plan.encode()))

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        """Write the state atomically."""
        began, file = time.monotonic(), io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        self.store.put(self._key(STATE), file.getvalue())
        self.saved_at = time.monotonic()
        self.last_save_s = self.saved_at - began

    def is_due(self) -> bool:
        return time.monotonic() - self.saved_at > max(MIN_INTERVAL_S, INTERVAL_SAVES * self.last_save_s)

    def clear(self) -> None:
        """Delete the state. The plan stays."""
        self.store.delete(self._key(STATE))

    def clear_other_states(self) -> None:
        """Delete the obsolete states of the pipeline's other fits. Their plans stay."""
        for key in list(self.store.list(keys.checkpoints(self.pipeline))):
            if key.endswith(f"/{STATE}") and key != self._key(STATE):
                self.store.delete(key)

    def _key(self, name: str) -> str:
        return keys.checkpoint(self.pipeline, self.training, name)
