"""Reads the values of many rows at once, column by column, several times faster than row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.inference.contract import Column
from common.inference.features import Value, Values, read_value

# Distinct numbers that are remembered within one call.
MAX_NUMBERS = 8192


class NumberCache(dict[str, float]):
    """Texts to numbers; repeated texts cost a quarter of parsing them. Raises ValueError."""

    def __missing__(self, text: str) -> float:
        number = float(text)
        if len(self) < MAX_NUMBERS:
            self[text] = number
        return number


def read_columns(
    raw: Sequence[Sequence[Any]], columns: Sequence[Column], numbers: NumberCache | None = None
) -> list[Values] | None:
    """The values column by column, equal to those of `read_row`. `numbers`: the cache of earlier rows.

    None if any value is wrong or of a type that this fast path does not handle: `read_row` then says which.
    """
    numbers = NumberCache() if numbers is None else numbers
    read: list[Values] = []
    for values, column in zip(raw, columns, strict=True):
        types = set(map(type, values))
        one = _numbers(values, types, column, numbers) if column.type == "number" else _texts(values, types, column)
        if one is None:
            return None
        read.append(one)
    return read


def _numbers(
    values: Sequence[Any], types: set[type], column: Column, numbers: NumberCache
) -> np.ndarray[Any, Any] | None:
    try:
        if types == {str}:
            if "_" in "".join(values):
                return None
            array = np.fromiter(map(numbers.__getitem__, values), np.float64, len(values))
        elif types <= {int, float}:
            array = np.array(values, dtype=np.float64)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    low, high = column.min, column.max
    good = np.isfinite(array).all() and (low is None or array.min() >= low) and (high is None or array.max() <= high)
    return array if good else None


def _texts(values: Sequence[Any], types: set[type], column: Column) -> list[Value] | None:
    if types != {str}:
        return None
    known = {}
    for raw in set(values):
        value, error = read_value(raw, column)
        if error is not None or value is None:
            return None
        known[raw] = value
    return [known[raw] for raw in values]
