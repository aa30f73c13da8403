"""What scripts/lineage and scripts/export share: progress, tables, and one place that turns errors into exit codes."""

from __future__ import annotations

import csv
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from common.errors import RegistryUnavailable, SabuesoError, WrongSettings

PROGRESS_S = 2.0


def log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Progress:
    """Logs progress every two seconds, and the end if it logged before."""

    def __init__(self, what: str) -> None:
        self.what, self._logged_at, self._has_logged = what, time.monotonic(), False

    def __call__(self, done: int, total: int) -> None:
        is_due = time.monotonic() - self._logged_at > PROGRESS_S
        if is_due or (self._has_logged and done == total):
            self._logged_at, self._has_logged = time.monotonic(), True
            log(f"{self.what}: {done} of {total}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    texts = [list(columns), *(["" if value is None else str(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def print_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *rows])


def print_json(body: Any) -> None:
    print(json.dumps(body, ensure_ascii=False))


def _stop(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def run(work: Callable[[], None]) -> int:
    """Do the work and return the exit code: 0 success, 1 failure, 2 wrong settings."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        log("! stopped")
        return 1
    except WrongSettings as error:
        log(f"! {error.detail}")
        return 2
    except RegistryUnavailable as error:
        log(f"! {error.detail} With --snapshot FINGERPRINT, MLflow is not needed.")
        return 1
    except SabuesoError as error:
        log(f"! {error.detail}")
        return 1
    except OSError as error:
        log(f"! {error.filename or 'a file'}: {error.strerror or error}")
        return 1
    return 0
