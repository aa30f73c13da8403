"""Retries while a service is down in the middle of a training: MLflow, its database, the object store.

A training keeps retrying for `SABUESO_RETRY_S` seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from common.errors import Unavailable
from common.logging import log

T = TypeVar("T")
# Exit code of a job whose store stayed down (EX_TEMPFAIL of sysexits.h).
STORE_DOWN = 75
# Progress of a fit is not reported for this long after a failure: retries would cost the fit its budget.
QUIET_S = 15.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 10.0


@dataclass(frozen=True)
class RetryPolicy:
    """Repeats a call for up to `seconds`. `report` gets the reason of each wait, and None when it is over."""

    seconds: float
    report: Callable[[str | None], None]

    def __call__(self, call: Callable[[], T]) -> T:
        """The result of the call, which must be safe to repeat. Raises its Unavailable when the time is over."""
        until = time.monotonic() + self.seconds
        pause = FIRST_PAUSE_S
        reported = None
        while True:
            try:
                result = call()
            except Unavailable as error:
                if time.monotonic() + pause > until:
                    raise
                if error.detail != reported:
                    self.report(error.detail)
                reported = error.detail
                time.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_S)
                continue
            if reported is not None:
                self.report(None)
            return result


def log_waiting(pipeline: str, reason: str | None) -> None:
    """Log the reason of a wait, or that it is over."""
    if reason is None:
        log("service is back", pipeline=pipeline)
    else:
        log("waiting for a service", logging.WARNING, pipeline=pipeline, why=reason)
