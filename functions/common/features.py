"""The preprocessing of rows that train and classify share: reading, hashing, encoding. numpy alone."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import FieldError

Value = float | str
Values = Sequence[Value] | np.ndarray[Any, Any]
MAX_TEXT = 200
# Beyond it the clipped number is 3 all the same, and its square would overflow.
FAR = 1e9
# Of one call.
MOST_NUMBERS = 8192


def _number(raw: Any, column: Mapping[str, Any]) -> float | str:
    """The number, or what is wrong with it."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return "must be a number"
    try:
        if isinstance(raw, str) and "_" in raw:  # Python takes 1_000, nobody's data mean it
            raise ValueError
        value = float(raw)
    except (ValueError, OverflowError):
        return f"must be a number, not {str(raw)[:40]!r}"
    if not math.isfinite(value):
        return "must be a finite number"
    low, high = column.get("min"), column.get("max")
    if (low is not None and value < low) or (high is not None and value > high):
        told = ["" if bound is None else f"{bound:g}" for bound in (low, high)]
        return f"{value:g} is outside {told[0]}..{told[1]}"
    return value


def read_value(raw: Any, column: Mapping[str, Any]) -> tuple[Value | None, FieldError | None]:
    """One raw value of a column, as a float or a text, or what is wrong with it."""
    name = column["name"]
    if column["type"] == "number":
        value = _number(raw, column)
        return (None, FieldError(name, value)) if isinstance(value, str) else (value, None)
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None, FieldError(name, "must be a text")
    text = str(raw).strip()
    if not text or len(text) > MAX_TEXT:
        return None, FieldError(name, f"must be a text of 1 to {MAX_TEXT} characters")
    values = column.get("values")
    if values is not None and text not in values:
        return None, FieldError(name, f"{text[:40]!r} is none of: {', '.join(values)}")
    return text, None


def read_row(
    raw: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Value, ...], list[FieldError]]:
    """The values of a row in the columns' order, and every mistake in it, each with its column."""
    values: list[Value] = []
    errors = [
        FieldError(str(name)[:80], "is no column of this pipeline")
        for name in raw.keys() - {c["name"] for c in columns}
    ]
    for column in columns:
        if column["name"] not in raw:
            errors.append(FieldError(column["name"], "missing"))
            continue
        value, error = read_value(raw[column["name"]], column)
        if error is not None:
            errors.append(error)
        elif value is not None:
            values.append(value)
    return tuple(values), errors


class Numbers(dict[str, float]):
    """What texts are as numbers: looking one up that came before takes a quarter of the time. Raises ValueError."""

    def __missing__(self, text: str) -> float:
        number = float(text)
        if len(self) < MOST_NUMBERS:
            self[text] = number
        return number


def read_columns(
    raw: Sequence[Sequence[Any]], columns: Sequence[Mapping[str, Any]], numbers: Numbers | None = None
) -> list[Values] | None:
    """The values of many rows at once, column by column, as `read_row` finds them. `numbers`: of the rows before.

    None where any of them is wrong, or of a type that takes a closer look: `read_row` then tells which.
    """
    numbers = Numbers() if numbers is None else numbers
    found: list[Values] = []
    for values, column in zip(raw, columns, strict=True):
        kinds = set(map(type, values))
        one = _numbers(values, kinds, column, numbers) if column["type"] == "number" else _texts(values, kinds, column)
        if one is None:
            return None
        found.append(one)
    return found


def _numbers(
    values: Sequence[Any], kinds: set[type], column: Mapping[str, Any], numbers: Numbers
) -> np.ndarray[Any, Any] | None:
    try:
        if kinds == {str}:
            if "_" in "".join(values):
                return None
            found = np.fromiter(map(numbers.__getitem__, values), np.float64, len(values))
        elif kinds <= {int, float}:
            found = np.array(values, dtype=np.float64)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    low, high = column.get("min"), column.get("max")
    good = np.isfinite(found).all() and (low is None or found.min() >= low) and (high is None or found.max() <= high)
    return found if good else None


def _texts(values: Sequence[Any], kinds: set[type], column: Mapping[str, Any]) -> list[Value] | None:
    if kinds != {str}:
        return None
    known = {}
    for raw in set(values):
        value, error = read_value(raw, column)
        if error is not None or value is None:
            return None
        known[raw] = value
    return [known[raw] for raw in values]


def canonical_row(values: Sequence[Value]) -> bytes:
    """The one spelling of a row: `51` and `51.0` are the same number, and so are `0` and `-0`."""
    return json.dumps([value if isinstance(value, str) else repr(float(value) + 0.0) for value in values]).encode()


def example_hash(canonical: bytes) -> str:
    return hashlib.sha256(canonical).hexdigest()


def fit_features(rows: Sequence[Sequence[Value]], columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Parameters of preprocessing, one dict a column, from the train part alone.

    Numbers: centre and scale from the quantiles as RealMLP does (Holzmueller et al. 2024, arXiv:2407.04491, 2.1).
    Categories: the vocabulary; index 0 is the slot that unseen ones share.
    """
    parameters = []
    for index, column in enumerate(columns):
        if column["type"] == "category":
            seen = set(column.get("values") or ()) | {str(row[index]) for row in rows}
            parameters.append({"name": column["name"], "type": "category", "vocabulary": sorted(seen)})
        elif column.get("cyclic"):
            parameters.append({"name": column["name"], "type": "cyclic", "period": float(column["cyclic"])})
        else:
            values = np.array([row[index] for row in rows], dtype=np.float64)
            low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
            scale = high - low if high > low else (values.max() - values.min()) / 2
            parameters.append(
                {"name": column["name"], "type": "number", "centre": float(centre), "scale": float(scale) or 1.0}
            )
    return parameters


class Encoder:
    """Values -> float32 (n, width): numbers first (a cyclic one as sine and cosine), then category indices.

    Numbers are clipped smoothly to (-3, 3): x / sqrt(1 + (x/3)^2), as RealMLP does.
    """

    def __init__(self, parameters: Sequence[Mapping[str, Any]]) -> None:
        self._plain = [place for place, one in enumerate(parameters) if one["type"] == "number"]
        self._cyclic = [place for place, one in enumerate(parameters) if one["type"] == "cyclic"]
        categories = [place for place, one in enumerate(parameters) if one["type"] == "category"]
        self._slots = [
            (place, {text: slot for slot, text in enumerate(parameters[place]["vocabulary"], start=1)})
            for place in categories
        ]
        self._centres = np.array([[parameters[one]["centre"]] for one in self._plain])
        self._scales = np.array([[parameters[one]["scale"]] for one in self._plain])
        self._turns = np.array([[2 * np.pi / parameters[one]["period"]] for one in self._cyclic])
        # They are computed as plain numbers, sines, cosines, categories; told in the columns' order, categories last.
        computed = [(one, 0) for one in self._plain] + [(one, turn) for turn in (0, 1) for one in self._cyclic]
        computed += [(one + len(parameters), 0) for one in categories]
        self._order = sorted(range(len(computed)), key=computed.__getitem__)

    @property
    def width(self) -> int:
        return len(self._order)

    def rows(self, rows: Sequence[Sequence[Value]]) -> np.ndarray[Any, Any]:
        return self.columns(list(zip(*rows, strict=True)), len(rows)) if rows else np.zeros((0, self.width), np.float32)

    def columns(self, values: Sequence[Values], count: int) -> np.ndarray[Any, Any]:
        """`values`: one sequence of so many for each column, in the columns' order."""
        found = np.empty((self.width, count))
        plain, cyclic = len(self._plain), len(self._cyclic)
        if plain:
            scaled = np.array([values[one] for one in self._plain], dtype=np.float64)
            with np.errstate(over="ignore"):
                scaled -= self._centres
                scaled /= self._scales
            np.minimum(np.maximum(scaled, -FAR, out=scaled), FAR, out=scaled)
            found[:plain] = scaled / np.sqrt(1 + (scaled / 3) ** 2)
        if cyclic:
            angles = np.array([values[one] for one in self._cyclic], dtype=np.float64) * self._turns
            found[plain : plain + cyclic] = np.sin(angles)
            found[plain + cyclic : plain + 2 * cyclic] = np.cos(angles)
        for place, (index, slots) in enumerate(self._slots, start=plain + 2 * cyclic):
            found[place] = [slots.get(str(one), 0) for one in values[index]]
        return found[self._order].T.astype(np.float32, order="C")


def encode_rows(rows: Sequence[Sequence[Value]], parameters: Sequence[Mapping[str, Any]]) -> np.ndarray[Any, Any]:
    """Rows of values -> float32 (n, width), as `Encoder` has it."""
    return Encoder(parameters).rows(rows)


def encoded_shape(parameters: Sequence[Mapping[str, Any]]) -> tuple[int, list[int]]:
    """How many number places `encode_rows` makes, and the slots of each category after them."""
    numbers = sum({"category": 0, "cyclic": 2, "number": 1}[parameter["type"]] for parameter in parameters)
    return numbers, [len(parameter["vocabulary"]) + 1 for parameter in parameters if parameter["type"] == "category"]
