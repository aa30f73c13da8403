"""Waiting for a service that went away in the middle of a training: MLflow, the database behind it, the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from common.errors import Unavailable

T = TypeVar("T")
# Exit code of a job whose store stayed away (sysexits.h: a failure that passes).
AWAY = 75
# What a fit tells on its way is not tried again for so long after it failed: waiting would cost it its budget.
QUIET_S = 15.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0


@dataclass
class Patience:
    """Repeats calls for up to `seconds` each; `tell` hears why it waits, and None when that is over."""

    seconds: float
    tell: Callable[[str | None], None]

    def __call__(self, call: Callable[[], T]) -> T:
        """What the call returns. It must do no harm twice. Raises its Unavailable when the time is over."""
        until = time.monotonic() + self.seconds
        pause = FIRST_PAUSE_S
        said = None
        while True:
            try:
                result = call()
            except Unavailable as error:
                if time.monotonic() + pause > until:
                    raise
                if error.detail != said:
                    self.tell(error.detail)
                said = error.detail
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            if said is not None:
                self.tell(None)
            return result
