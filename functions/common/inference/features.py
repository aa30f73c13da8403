"""Preprocessing of rows, shared by train and classify: reading, hashing, encoding. Needs only numpy."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from common.errors import FieldError
from common.inference.contract import CategoryFeature, Column, CyclicFeature, Feature, NumberFeature

Value = float | str
Values = Sequence[Value] | np.ndarray[Any, Any]
MAX_TEXT = 200
MAX_UNKNOWN = 100  # unknown columns of a row that are named
# Scaled numbers are clipped here, because larger squares would overflow. The encoding is 3 either way.
MAX_SCALED = 1e9


def _number(raw: Any, column: Column) -> float | str:
    """The number, or an error message."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return "must be a number"
    try:
        if isinstance(raw, str) and "_" in raw:  # Python would accept 1_000
            raise ValueError
        value = float(raw)
    except (ValueError, OverflowError):
        return f"must be a number, not {str(raw)[:40]!r}"
    if not math.isfinite(value):
        return "must be a finite number"
    if (column.min is not None and value < column.min) or (column.max is not None and value > column.max):
        low, high = ("" if bound is None else f"{bound:g}" for bound in (column.min, column.max))
        return f"{value:g} is outside {low}..{high}"
    return value


def read_value(raw: Any, column: Column) -> tuple[Value | None, FieldError | None]:
    """A raw value as a float or a text, or the error."""
    name = column.name
    if column.type == "number":
        value = _number(raw, column)
        return (None, FieldError(name, value)) if isinstance(value, str) else (value, None)
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None, FieldError(name, "must be a text")
    text = str(raw).strip()
    if not text or len(text) > MAX_TEXT:
        return None, FieldError(name, f"must be a text of 1 to {MAX_TEXT} characters")
    if column.values is not None and text not in column.values:
        return None, FieldError(name, f"{text[:40]!r} is not one of: {', '.join(column.values)}")
    return text, None


def read_row(raw: Mapping[str, Any], columns: Sequence[Column]) -> tuple[tuple[Value, ...], list[FieldError]]:
    """The values of a row in the columns' order, and all its errors, each with its column."""
    values: list[Value] = []
    known = {column.name for column in columns}
    unknown = raw.keys() - known
    errors: list[FieldError] = []
    for column in columns:
        if column.name not in raw:
            errors.append(FieldError(column.name, "missing"))
            continue
        value, error = read_value(raw[column.name], column)
        if error is not None:
            errors.append(error)
        elif value is not None:
            values.append(value)
    errors += [FieldError(str(name)[:80], "is not a column of this pipeline") for name in islice(unknown, MAX_UNKNOWN)]
    return tuple(values), errors


def canonical_row(values: Sequence[Value]) -> bytes:
    """The canonical form of a row: `51` and `51.0` are the same number, and so are `0` and `-0`."""
    return json.dumps([value if isinstance(value, str) else repr(float(value) + 0.0) for value in values]).encode()


def example_hash(canonical: bytes) -> str:
    return hashlib.sha256(canonical).hexdigest()


class Encoder:
    """Values -> float32 (n, width): numbers first (a cyclic one as sine and cosine), then category indices.

    Numbers are clipped smoothly to (-3, 3): x / sqrt(1 + (x/3)^2), as in RealMLP (Holzmueller et al. 2024,
    arXiv:2407.04491, 2.1).
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        numbers = [(index, feature) for index, feature in enumerate(features) if isinstance(feature, NumberFeature)]
        cyclic = [(index, feature) for index, feature in enumerate(features) if isinstance(feature, CyclicFeature)]
        categories = [
            (index, feature) for index, feature in enumerate(features) if isinstance(feature, CategoryFeature)
        ]
        self._numbers, self._cyclic = [index for index, _ in numbers], [index for index, _ in cyclic]
        self._category_indices = [
            (index, {text: place for place, text in enumerate(category.vocabulary, start=1)})
            for index, category in categories
        ]
        self._centres = np.array([[number.centre] for _, number in numbers])
        self._scales = np.array([[number.scale] for _, number in numbers])
        self._frequencies = np.array([[2 * np.pi / angle.period] for _, angle in cyclic])
        # Computed as numbers, sines, cosines, categories; returned in the columns' order, categories last.
        computed = [(index, 0) for index in self._numbers]
        computed += [(index, function) for function in (0, 1) for index in self._cyclic]
        computed += [(index + len(features), 0) for index, _ in categories]
        self._order = sorted(range(len(computed)), key=computed.__getitem__)

    @property
    def width(self) -> int:
        return len(self._order)

    def rows(self, rows: Sequence[Sequence[Value]]) -> np.ndarray[Any, Any]:
        return self.columns(list(zip(*rows, strict=True)), len(rows)) if rows else np.zeros((0, self.width), np.float32)

    def columns(self, values: Sequence[Values], count: int) -> np.ndarray[Any, Any]:
        """Encode by column. `values`: for each column in order, the values of `count` rows."""
        encoded = np.empty((self.width, count))
        numbers, cyclic = len(self._numbers), len(self._cyclic)
        if numbers:
            scaled = np.array([values[index] for index in self._numbers], dtype=np.float64)
            with np.errstate(over="ignore"):
                scaled -= self._centres
                scaled /= self._scales
            np.minimum(np.maximum(scaled, -MAX_SCALED, out=scaled), MAX_SCALED, out=scaled)
            encoded[:numbers] = scaled / np.sqrt(1 + (scaled / 3) ** 2)
        if cyclic:
            angles = np.array([values[index] for index in self._cyclic], dtype=np.float64) * self._frequencies
            encoded[numbers : numbers + cyclic] = np.sin(angles)
            encoded[numbers + cyclic : numbers + 2 * cyclic] = np.cos(angles)
        for row, (index, indices) in enumerate(self._category_indices, start=numbers + 2 * cyclic):
            encoded[row] = [indices.get(str(value), 0) for value in values[index]]
        return encoded[self._order].T.astype(np.float32, order="C")


def encode_rows(rows: Sequence[Sequence[Value]], features: Sequence[Feature]) -> np.ndarray[Any, Any]:
    """Rows of values -> float32 (n, width); see Encoder."""
    return Encoder(features).rows(rows)


def encoded_shape(features: Sequence[Feature]) -> tuple[int, list[int]]:
    """The width of the numbers in an encoded row, and the number of slots of each category after them."""
    widths = {"category": 0, "cyclic": 2, "number": 1}
    slots = [len(feature.vocabulary) + 1 for feature in features if isinstance(feature, CategoryFeature)]
    return sum(widths[feature.type] for feature in features), slots
