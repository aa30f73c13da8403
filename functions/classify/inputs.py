"""From a request to the inputs of a bundle, or to an error that names what is wrong."""

from __future__ import annotations

import io
from typing import Any

from flask import Request

from common.datasets import csv_rows
from common.errors import FieldError, Malformed, Unusable, WrongType
from common.features import read_row
from common.pictures import CONTENT_TYPES
from common.web import json_body

MOST_ERRORS = 100
MOST_PICTURES = 100


def read_pictures(request: Request) -> list[bytes]:
    """The picture files of a raw image/* body or of multipart fields `image`.

    Raises WrongType, Malformed (nothing sent), TooLarge.
    """
    if request.mimetype == "multipart/form-data":
        files = request.files.getlist("image")
        if not files:
            raise Malformed("the form holds no file in a field `image`", (FieldError("image", "missing"),))
        if len(files) > MOST_PICTURES:
            raise Malformed(f"{len(files)} pictures; {MOST_PICTURES} are the most in one call")
        bodies = [file.read() for file in files]
    elif request.mimetype.startswith("image/"):
        bodies = [request.get_data()]
    elif not request.get_data():
        raise _no_picture()
    else:
        raise WrongType(
            f"{request.mimetype or 'no content type'} is not taken: send a picture as {', '.join(CONTENT_TYPES)}, "
            "or multipart/form-data with fields `image`"
        )
    if not all(bodies):
        raise _no_picture()
    return bodies


def _no_picture() -> Malformed:
    return Malformed("the body is empty: send a picture", (FieldError("image", "missing"),))


def read_rows(request: Request, columns: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The rows of a JSON object, a JSON list or a CSV with header, as values in the columns' order.

    Raises WrongType, Malformed, Unusable with the field of every mistake.
    """
    if request.mimetype == "text/csv":
        records: list[Any] = _csv_records(request, columns)
        single = False
    elif request.mimetype == "application/json":
        body = json_body()
        single = isinstance(body, dict)
        records = [body] if single else body
    elif not request.get_data():
        raise Malformed("the body is empty: send a JSON object, a list of them, or a CSV")
    else:
        raise WrongType(f"{request.mimetype or 'no content type'} is not taken: send application/json or text/csv")
    if not isinstance(records, list) or not records:
        raise Malformed("the body must be a JSON object or a list of at least one")
    return _checked(records, columns, single)


def _csv_records(request: Request, columns: list[dict[str, Any]]) -> list[dict[str, str]]:
    names = [column["name"] for column in columns]
    try:
        text = request.get_data().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed("the CSV is not UTF-8") from None
    return [dict(zip(names, row, strict=True)) for row in csv_rows(io.StringIO(text, newline=""), names)]


def _checked(records: list[Any], columns: list[dict[str, Any]], single: bool) -> list[tuple[Any, ...]]:
    rows, errors = [], []
    for place, record in enumerate(records):
        where = "" if single else f"rows[{place}]."
        if not isinstance(record, dict):
            errors.append(FieldError(where.rstrip("."), "must be a JSON object"))
            continue
        values, wrong = read_row(record, columns)
        errors += [FieldError(where + one.field, one.detail) for one in wrong]
        rows.append(values)
        if len(errors) >= MOST_ERRORS:
            break
    if errors:
        told = "; ".join(f"{one.field}: {one.detail}" for one in errors[:3])
        raise Unusable(f"{told}{' ...' if len(errors) > 3 else ''}", tuple(errors))
    return rows
