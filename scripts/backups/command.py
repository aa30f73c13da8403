"""What scripts/backup and scripts/restore share: progress, and one place that turns errors into exit codes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from common.errors import SabuesoError, StoreUnavailable, WrongSettings

PROGRESS_S = 2.0
NO_BUCKET = "Check the bucket name: SABUESO_STORE in infra/.env."
STORE_ADVICE = (
    "Check that it runs, and MINIO_PORT (or --s3-endpoint), MINIO_ROOT_USER, MINIO_ROOT_PASSWORD in infra/.env."
)


class BackupError(Exception):
    """Why a backup or a restore can't continue, and what to do about it."""


def log(line: str) -> None:
    print(line.rstrip(), file=sys.stderr, flush=True)


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


class Progress:
    """Counts objects and bytes, and logs them every two seconds."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done, self.size = what, total, 0, 0
        self._logged_at = time.monotonic()

    def add(self, size: int) -> None:
        self.done += 1
        self.size += size
        if self.done == self.total or time.monotonic() - self._logged_at > PROGRESS_S:
            self._logged_at = time.monotonic()
            log(f"{self.what}: {self.done} of {self.total} objects, {megabytes(self.size)}")


def _stop(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def run(work: Callable[[], None], remaining: Callable[[], str]) -> int:
    """Do the work and return the exit code: 0 success, 1 failure, 2 wrong settings.

    `remaining` describes what a failure leaves to clean up.
    """
    # A backup holds the data and the password hashes of MLflow's accounts: only its owner may read it.
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _stop)
    try:
        work()
    except KeyboardInterrupt:
        log(f"! stopped. {remaining()}")
        return 1
    except WrongSettings as error:
        log(f"! {error.detail}")
        return 2
    except StoreUnavailable as error:
        # The error's own advice is for functions.
        advice = NO_BUCKET if "NoSuchBucket" in error.why else STORE_ADVICE
        log(f"! The object store {error.where} can't be used: {error.why}. {advice} {remaining()}")
        return 1
    except (BackupError, SabuesoError) as error:
        log(f"! {error} {remaining()}")
        return 1
    except OSError as error:
        log(f"! {error.filename or 'a file'}: {error.strerror or error}. {remaining()}")
        return 1
    return 0
