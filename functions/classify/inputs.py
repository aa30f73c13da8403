"""From a body to the inputs of a bundle, or to an error that names every mistake."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from classify.columns import NumberCache, read_columns
from classify.settings import ClassifySettings
from common.csv_rows import csv_rows
from common.errors import FieldError, Malformed, Unusable, WrongType
from common.inference.bundle import Bundle
from common.inference.contract import Column, Contract
from common.inference.features import read_row
from common.inference.network import Array
from common.inference.picture_files import CONTENT_TYPES, PictureFile, read_picture
from common.json_reading import read_json

MAX_ERRORS = 100
# Rows that are read at once, column by column. A body of fewer bytes is read row by row.
BLOCK, SMALL_BODY = 256, 2048
LINES_PER_ROW = 5
Columns = Sequence[Column]


def picture_files(mimetype: str, body: bytes) -> list[bytes]:
    """The picture file of a raw image/* body. Raises WrongType, Malformed."""
    if mimetype.startswith("image/"):
        return [body]
    if not body:
        raise _no_picture()
    raise WrongType(
        f"{mimetype or 'no content type'} is not supported: send a picture as {', '.join(CONTENT_TYPES)}, "
        "or multipart/form-data with fields `image`"
    )


def check_pictures(files: list[bytes], limits: ClassifySettings) -> list[PictureFile]:
    """What decoding the files will cost; their pixels are left out.

    Raises Malformed if there are none, too many, an empty one, or too many pixels together; Unusable, with its field,
    for one that is no picture or too large.
    """
    if not files:
        raise Malformed("the form holds no file in a field `image`", (FieldError("image", "missing"),))
    if len(files) > limits.max_pictures:
        raise Malformed(f"{len(files)} pictures; one call takes at most {limits.max_pictures}")
    if not all(files):
        raise _no_picture()
    pictures = []
    for place, file in enumerate(files):
        with errors_of(picture_field(place, len(files))):
            pictures.append(read_picture(file, limits)._replace(pixels=b""))
    work = sum(picture.work for picture in pictures) / 1e6
    if work > limits.max_work_megapixels:
        raise Malformed(
            f"the {len(files)} pictures take {work:,.0f} megapixels of decoding together; one call takes at most "
            f"{limits.max_work_megapixels:g}. Send them in several calls."
        )
    return pictures


def _no_picture() -> Malformed:
    return Malformed("the body is empty: send a picture", (FieldError("image", "missing"),))


def picture_field(place: int, count: int) -> str:
    """The name of a picture in errors."""
    return "image" if count == 1 else f"image[{place}]"


@contextmanager
def errors_of(field: str) -> Iterator[None]:
    """Names the field in an Unusable."""
    try:
        yield
    except Unusable as error:
        raise Unusable(f"{field}: {error.detail}", (FieldError(field, error.detail),)) from None


def encoded_blocks(mimetype: str, body: bytes, bundle: Bundle, limits: ClassifySettings) -> Iterator[Array]:
    """The rows of a JSON object, a JSON list or a CSV with a header, block by block as float32 (n, width).

    Raises WrongType, Malformed, and after the last block Unusable with the fields of the first mistakes.
    """
    columns, encoder = bundle.contract.columns, bundle.encoder
    if encoder is None:
        raise TypeError("a bundle for pictures takes no rows")
    if len(body) < SMALL_BODY:
        yield encoder.rows(read_values(mimetype, body, bundle.contract, limits))
        return
    records, single = _records(mimetype, body, bundle.contract, limits)
    names = [column.name for column in columns]
    errors: list[FieldError] = []
    at, numbers = 0, NumberCache()
    while len(errors) < MAX_ERRORS and (block := list(islice(records, BLOCK))):
        by_column = _by_column(block, names)
        read = None if by_column is None else read_columns(by_column, columns, numbers)
        if read is None:
            values, wrong = _one_by_one(block, columns, None if single else at)
            errors += wrong
            if not errors:
                yield encoder.rows(values)
        elif not errors:
            yield encoder.columns(read, len(block))
        at += len(block)
    _refuse(errors)


def read_values(
    mimetype: str, body: bytes, contract: Contract, limits: ClassifySettings, max_rows: int | None = None
) -> list[tuple[Any, ...]]:
    """The rows of a JSON object, a JSON list or a CSV with a header, as values in the columns' order.

    Raises WrongType, Malformed, and Unusable with the fields of the first mistakes.
    """
    records, single = _records(mimetype, body, contract, limits, max_rows)
    rows, errors = _one_by_one(list(records), contract.columns, None if single else 0)
    _refuse(errors)
    return rows


def _records(
    mimetype: str, body: bytes, contract: Contract, limits: ClassifySettings, max_rows: int | None = None
) -> tuple[Iterator[Any], bool]:
    """Rows (of a CSV as tuples in the columns' order, of JSON as they are), and whether it is a single JSON object.

    Raises Malformed at the row after the last one that is allowed.
    """
    single = False
    most = limits.max_rows if max_rows is None else max_rows
    if mimetype == "text/csv":
        # A row may have several lines, and lines may be empty.
        max_lines = LINES_PER_ROW * limits.max_rows
        records: Iterator[Any] = _csv_records(body, [column.name for column in contract.columns], max_lines)
    elif mimetype == "application/json":
        parsed = read_json(body, limits.max_values)
        single = isinstance(parsed, dict)
        records = iter([parsed] if single else parsed if isinstance(parsed, list) else [])
    elif not body:
        raise Malformed("the body is empty: send a JSON object, a list of them, or a CSV")
    else:
        raise WrongType(f"{mimetype or 'no content type'} is not supported: send application/json or text/csv")
    # Of a row, its values or its answers, whichever are more.
    width = max(len(contract.columns), len(contract.labels))
    if (within_values := limits.max_values // width) < most:
        records = _at_most(records, within_values, f"rows of {width} values; one call takes")
    else:
        records = _at_most(records, most, f"rows; one call {'takes' if max_rows is None else 'explains'}")
    first = list(islice(records, 1))
    if not first:
        raise Malformed("the body must be a JSON object or a non-empty list of them")
    return chain(first, records), single


def _at_most(records: Iterator[Any], most: int, what: str) -> Iterator[Any]:
    yield from islice(records, most)
    if list(islice(records, 1)):
        raise Malformed(f"more than {most:,} {what} at most {most:,}. Send them in several calls.")


def _csv_records(body: bytes, names: list[str], max_lines: int) -> Iterator[tuple[str, ...]]:
    """Decoded while they are read: the whole text would take four times the memory of the body."""
    try:
        text = io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline="")
        yield from map(tuple, csv_rows(text, names, max_lines))
    except UnicodeDecodeError:
        raise Malformed("the CSV is not UTF-8") from None


def _by_column(block: list[Any], names: list[str]) -> list[Sequence[Any]] | None:
    """The values by column, if every row has exactly these columns; else None."""
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
    """Values and mistakes, row by row. `first`: the number of the first row in the body; None for a single object."""
    names = [column.name for column in columns]
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
        if len(errors) >= MAX_ERRORS:
            break
    return rows, errors


def _refuse(errors: list[FieldError]) -> None:
    errors = errors[:MAX_ERRORS]
    if errors:
        summary = "; ".join(f"{error.field}: {error.detail}" for error in errors[:3])
        raise Unusable(f"{summary}{' ...' if len(errors) > 3 else ''}", tuple(errors))
