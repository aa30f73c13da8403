"""A fit in the object store, under jobs/<pipeline>/checkpoints/<fingerprint>/: its plan, and its arrays."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from common.objects import Objects

# Between two states; longer where writing one takes long, so that it stays a small share of the fit.
EVERY_S, EVERY_SAVES = 20.0, 20
PLAN, STATE = "plan.json", "state.npz"


def _at_once(call: Callable[[], Any]) -> Any:
    return call()


@dataclass
class Checkpoint:
    """Raises StoreUnavailable where `wait` does."""

    objects: Objects
    prefix: str
    wait: Callable[[Callable[[], Any]], Any] = _at_once  # what waits for a store that is away
    saved: float = field(default_factory=time.monotonic)
    took_s: float = 0.0  # to write the last state

    def plan(self) -> dict[str, Any] | None:
        """The plan of an earlier fit of the same snapshot with the same settings, ended or not."""
        found = self.wait(partial(self.objects.get, self.prefix + PLAN))
        return None if found is None else dict(json.loads(found.body))

    def load(self) -> dict[str, np.ndarray] | None:
        """The arrays of an earlier fit that did not come to its end, or None."""
        found = self.wait(partial(self.objects.get, self.prefix + STATE))
        if found is None:
            return None
        with np.load(io.BytesIO(found.body), allow_pickle=False) as arrays:
            return dict(arrays)

    def save_plan(self, plan: dict[str, Any]) -> None:
        self.wait(lambda: self.objects.put(self.prefix + PLAN, json.dumps(plan).encode()))

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        """Write the arrays, at once or not at all."""
        began, file = time.monotonic(), io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        self.objects.put(self.prefix + STATE, file.getvalue())
        self.saved = time.monotonic()
        self.took_s = self.saved - began

    def due(self) -> bool:
        return time.monotonic() - self.saved > max(EVERY_S, EVERY_SAVES * self.took_s)

    def clear(self) -> None:
        """Forget the arrays. The plan stays: a forced training of the same snapshot repeats it."""
        self.objects.delete(self.prefix + STATE)

    def clear_others(self) -> None:
        """Forget the arrays of all other fits beside this one: they were overtaken. Their plans stay."""
        pipeline = self.prefix.rstrip("/").rpartition("/")[0] + "/"
        for key in list(self.objects.list(pipeline)):
            if key.endswith(f"/{STATE}") and not key.startswith(self.prefix):
                self.objects.delete(key)
