"""From a body to the inputs of a bundle, or to an error that names what is wrong."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from common.bundle import Bundle
from common.datasets import csv_rows
from common.errors import FieldError, Malformed, Unusable, WrongType
from common.features import Numbers, read_columns, read_row
from common.network import Array
from common.pictures import CONTENT_TYPES
from common.web import read_json

MOST_ERRORS = 100
MOST_PICTURES = 100
# Rows that are read at once, so that whole columns are worked on. A body of few bytes is read row by row.
BLOCK, FEW_BYTES = 256, 2048
Columns = Sequence[Mapping[str, Any]]


def picture_files(mimetype: str, body: bytes) -> list[bytes]:
    """The picture file of a raw image/* body. Raises WrongType, Malformed."""
    if mimetype.startswith("image/"):
        return checked_files([body])
    if not body:
        raise _no_picture()
    raise WrongType(
        f"{mimetype or 'no content type'} is not taken: send a picture as {', '.join(CONTENT_TYPES)}, "
        "or multipart/form-data with fields `image`"
    )


def checked_files(files: list[bytes]) -> list[bytes]:
    """The files of a form's fields `image`, if there are any and not too many. Raises Malformed."""
    if not files:
        raise Malformed("the form holds no file in a field `image`", (FieldError("image", "missing"),))
    if len(files) > MOST_PICTURES:
        raise Malformed(f"{len(files)} pictures; {MOST_PICTURES} are the most in one call")
    if not all(files):
        raise _no_picture()
    return files


def _no_picture() -> Malformed:
    return Malformed("the body is empty: send a picture", (FieldError("image", "missing"),))


def encoded_blocks(mimetype: str, body: bytes, bundle: Bundle) -> Iterator[Array]:
    """The rows of a JSON object, a JSON list or a CSV with header, as the network takes them: float32 (n, width).

    Block by block. Raises WrongType, Malformed; and at the end Unusable with the field of every mistake.
    """
    columns, encoder = bundle.contract["columns"], bundle.encoder
    if encoder is None:
        raise ValueError("a bundle for pictures takes no rows")
    if len(body) < FEW_BYTES:
        yield encoder.rows(read_values(mimetype, body, columns))
        return
    records, _ = _records(mimetype, body, columns)
    names = [column["name"] for column in columns]
    errors: list[FieldError] = []
    at, numbers = 0, Numbers()
    while len(errors) < MOST_ERRORS and (block := list(islice(records, BLOCK))):
        by_column = _by_column(block, names)
        found = None if by_column is None else read_columns(by_column, columns, numbers)
        if found is None:
            values, wrong = _one_by_one(block, columns, at)
            errors += wrong
            if not errors:
                yield encoder.rows(values)
        elif not errors:
            yield encoder.columns(found, len(block))
        at += len(block)
    _refuse(errors)


def read_values(mimetype: str, body: bytes, columns: Columns) -> list[tuple[Any, ...]]:
    """The same rows as values in the columns' order. Raises the same."""
    records, single = _records(mimetype, body, columns)
    rows, errors = _one_by_one(list(records), columns, None if single else 0)
    _refuse(errors)
    return rows


def _records(mimetype: str, body: bytes, columns: Columns) -> tuple[Iterator[Any], bool]:
    """Rows: of a CSV as tuples in the columns' order, of JSON as what stands in the list; and whether it is no list."""
    single = False
    if mimetype == "text/csv":
        names = [column["name"] for column in columns]
        records: Iterator[Any] = _csv_records(body, names)
    elif mimetype == "application/json":
        found = read_json(body)
        single = isinstance(found, dict)
        records = iter([found] if single else found if isinstance(found, list) else [])
    elif not body:
        raise Malformed("the body is empty: send a JSON object, a list of them, or a CSV")
    else:
        raise WrongType(f"{mimetype or 'no content type'} is not taken: send application/json or text/csv")
    first = list(islice(records, 1))
    if not first:
        raise Malformed("the body must be a JSON object or a list of at least one")
    return chain(first, records), single


def _csv_records(body: bytes, names: list[str]) -> Iterator[tuple[str, ...]]:
    """Decoded as they are read: the whole text would take four times the body's memory."""
    try:
        yield from map(tuple, csv_rows(io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline=""), names))
    except UnicodeDecodeError:
        raise Malformed("the CSV is not UTF-8") from None


def _by_column(block: list[Any], names: list[str]) -> list[Sequence[Any]] | None:
    """The columns of rows that have all of them and no other; None if any has not."""
    if type(block[0]) is tuple:
        return list(zip(*block, strict=True))
    wanted = set(names)
    if not all(type(one) is dict and one.keys() == wanted for one in block):
        return None
    if len(names) == 1:
        return [[one[names[0]] for one in block]]
    return list(zip(*map(itemgetter(*names), block), strict=True))


def _one_by_one(
    records: list[Any], columns: Columns, first: int | None
) -> tuple[list[tuple[Any, ...]], list[FieldError]]:
    """Values and mistakes, row by row. `first`: the place of the first in the body; None for a single one."""
    names = [column["name"] for column in columns]
    rows: list[tuple[Any, ...]] = []
    errors: list[FieldError] = []
    for place, record in enumerate(records, start=first or 0):
        where = "" if first is None else f"rows[{place}]."
        if type(record) is tuple:
            record = dict(zip(names, record, strict=True))
        if not isinstance(record, dict):
            errors.append(FieldError(where.rstrip("."), "must be a JSON object"))
            continue
        values, wrong = read_row(record, columns)
        errors += [FieldError(where + one.field, one.detail) for one in wrong]
        rows.append(values)
        if len(errors) >= MOST_ERRORS:
            break
    return rows, errors


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        told = "; ".join(f"{one.field}: {one.detail}" for one in errors[:3])
        raise Unusable(f"{told}{' ...' if len(errors) > 3 else ''}", tuple(errors))
