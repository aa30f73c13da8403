"""Output of the commands: progress on stderr, tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


def log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Each column as wide as its longest value."""
    texts = [list(columns), *([str(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
