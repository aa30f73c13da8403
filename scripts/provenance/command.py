"""What both commands share: progress, tables, and the one place where errors become a message and an exit code."""

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


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Progress:
    """Told now and then, and at the end if it was told before."""

    def __init__(self, what: str) -> None:
        self.what, self._told, self._spoke = what, time.monotonic(), False

    def __call__(self, done: int, of: int) -> None:
        late = time.monotonic() - self._told > PROGRESS_S
        if late or (self._spoke and done == of):
            self._told, self._spoke = time.monotonic(), True
            tell(f"{self.what}: {done} of {of}")


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table for people."""
    texts = [list(columns), *(["" if value is None else str(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def write_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """CSV on standard output."""
    csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *rows])


def write_json(body: Any) -> None:
    print(json.dumps(body, ensure_ascii=False))


def _stop(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def run(work: Callable[[], None]) -> int:
    """The exit code of `work`: 0 done, 1 it could not be, 2 wrong settings."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        tell("! stopped")
        return 1
    except WrongSettings as error:
        tell(f"! {error.detail}")
        return 2
    except RegistryUnavailable as error:
        tell(f"! {error.detail} With --snapshot FINGERPRINT it is not needed.")
        return 1
    except SabuesoError as error:
        tell(f"! {error.detail}")
        return 1
    except OSError as error:
        tell(f"! {error.filename or 'a file'}: {error.strerror or error}")
        return 1
    return 0
