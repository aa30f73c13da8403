"""What both commands share: progress for people, and the one place where errors become a message and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from common.errors import SabuesoError, StoreUnavailable, WrongSettings

PROGRESS_S = 2.0
NO_BUCKET = "Is it another one? See SABUESO_STORE in infra/.env."
STORE_ADVICE = (
    "Check that it runs, and MINIO_PORT (or --s3-endpoint), MINIO_ROOT_USER, MINIO_ROOT_PASSWORD in infra/.env."
)


class CannotGoOn(Exception):
    """What keeps a backup or a restore from going on, and what to do about it."""


def tell(line: str) -> None:
    print(line.rstrip(), file=sys.stderr, flush=True)


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


class Progress:
    """Counts objects and bytes, and tells them now and then."""

    def __init__(self, what: str, of: int) -> None:
        self.what, self.of, self.done, self.size = what, of, 0, 0
        self._told = time.monotonic()

    def add(self, size: int) -> None:
        self.done += 1
        self.size += size
        if self.done == self.of or time.monotonic() - self._told > PROGRESS_S:
            self._told = time.monotonic()
            tell(f"{self.what}: {self.done} of {self.of} objects, {megabytes(self.size)}")


def _stop(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def run(work: Callable[[], None], left_behind: Callable[[], str]) -> int:
    """The exit code of `work`: 0 done, 1 it could not be, 2 wrong settings; `left_behind` says what is there then."""
    # What is in a backup is for its owner alone: the data, and the password hashes of MLflow's accounts.
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _stop)
    try:
        work()
    except KeyboardInterrupt:
        tell(f"! stopped. {left_behind()}")
        return 1
    except WrongSettings as error:
        tell(f"! {error.detail}")
        return 2
    except StoreUnavailable as error:
        # What a function would do about it is not what helps here.
        advice = NO_BUCKET if "NoSuchBucket" in error.why else STORE_ADVICE
        tell(f"! The object store {error.where} can't be used: {error.why}. {advice} {left_behind()}")
        return 1
    except (CannotGoOn, SabuesoError) as error:
        tell(f"! {error} {left_behind()}")
        return 1
    except OSError as error:
        tell(f"! {error.filename or 'a file'}: {error.strerror or error}. {left_behind()}")
        return 1
    return 0
