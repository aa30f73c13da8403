"""Reads a raw row with its label; fetch-batch counts the usable ones, and train learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.errors import FieldError
from common.inference.features import Value, read_row
from common.pipelines import Pipeline


def read_labelled_row(row: Sequence[Any], pipeline: Pipeline) -> tuple[tuple[Value, ...], str, list[FieldError]]:
    """The values of the inputs, the label, and every mistake of a raw row in the source's order."""
    if not isinstance(row, list) or len(row) != len(pipeline.columns):
        count = len(row) if isinstance(row, list) else 0
        return (), "", [FieldError("row", f"has {count} values, not {len(pipeline.columns)}")]
    raw = {column.name: value for column, value in zip(pipeline.columns, row, strict=True)}
    label = str(raw.pop(pipeline.target.column)).strip()
    values, errors = read_row(raw, pipeline.inputs)
    if label not in pipeline.label_values:
        errors.append(FieldError(pipeline.target.column, f"{label[:40]!r} is not a label"))
    return values, label, errors
