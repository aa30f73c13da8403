"""Rows of a CSV file with a header, in the order of a pipeline's columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

from common.errors import FieldError, Unusable

MAX_SHOWN = 20  # columns of a wrong header that an error names


def csv_rows(lines: Iterable[str], names: Sequence[str]) -> Iterator[list[str]]:
    """Rows of a CSV with a header, values in the order of `names`. Raises Unusable if a column is missing."""
    reader = csv.reader(lines)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [FieldError(name, "no such column in the header") for name in names if name not in header]
        if missing:
            listed = ", ".join(error.field for error in missing)
            raise Unusable(f"the CSV lacks columns: {listed}; {_describe_header(header, names)}", tuple(missing))
        places = [header.index(name) for name in names]
        width, in_order = max(places) + 1, places == list(range(len(header)))
        for row in reader:
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
    return f"its header has: {', '.join(header[:MAX_SHOWN])}{more}"
