"""Rows of a CSV file with a header, in the order of a pipeline's columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import count
from typing import TextIO

from common.errors import FieldError, Unusable

# Columns of a wrong header that an error names, and characters of each.
MAX_SHOWN, MAX_SHOWN_NAME = 20, 80
# A row, or a header, of commas alone takes eight times its length in memory.
MAX_ROW_CHARACTERS = 1_000_000


class _Lines:
    """The lines of a text. A row may have several: `row` counts its characters, and is set to 0 when it ends."""

    def __init__(self, text: TextIO, most: int | None) -> None:
        self.text, self.row, self.most = text, 0, most

    def __iter__(self) -> Iterator[str]:
        for number in count(1):
            line = self.text.readline(MAX_ROW_CHARACTERS + 1)
            if not line:
                return
            if self.most is not None and number > self.most:
                raise Unusable(f"the CSV has more than {self.most:,} lines")
            self.row += len(line)
            if self.row > MAX_ROW_CHARACTERS:
                raise Unusable(f"a row of the CSV has more than {MAX_ROW_CHARACTERS:,} characters")
            yield line


def csv_rows(text: TextIO, names: Sequence[str], max_lines: int | None = None) -> Iterator[list[str]]:
    """Rows of a CSV with a header, values in the order of `names`. Empty lines are left out.

    Raises Unusable if a column is missing, a row too long, or there are more lines.
    """
    lines = _Lines(text, max_lines)
    reader = csv.reader(lines)
    try:
        header = [name.strip() for name in next(reader, [])]
        where = {name: place for place, name in reversed(list(enumerate(header)))}
        missing = [FieldError(name, "no such column in the header") for name in names if name not in where]
        if missing:
            listed = ", ".join(error.field for error in missing)
            raise Unusable(f"the CSV lacks columns: {listed}; {_describe_header(header, names)}", tuple(missing))
        places = [where[name] for name in names]
        width, in_order = max(places) + 1, places == list(range(len(header)))
        lines.row = 0
        for row in reader:
            lines.row = 0
            if len(row) == width and in_order:
                yield row
            elif row:
                row += [""] * (width - len(row))
                yield [row[place] for place in places]
    except csv.Error as error:
        raise Unusable(f"not a CSV: {error}") from None


def _describe_header(header: list[str], names: Sequence[str]) -> str:
    """The names in a wrong header. A first line that names no column may be a row of data, which is never shown."""
    if not set(header) & set(names):
        return "its first line names none of the columns"
    more = f" and {len(header) - MAX_SHOWN} more" if len(header) > MAX_SHOWN else ""
    return f"its header has: {', '.join(name[:MAX_SHOWN_NAME] for name in header[:MAX_SHOWN])}{more}"
