"""What of a sample can be used, and what is quarantined with its reason. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import FieldError, Unusable
from common.features import canonical_row, example_hash, read_row
from common.pictures import canonical_picture
from common.pipelines import Pipeline

# Enough of a sha256 to count distinct examples by; the whole one is computed again for a snapshot.
SHORT = 16
MOST_REASONS = 200


@dataclass(frozen=True)
class Report:
    """`examples`: short hashes of the usable ones; `rejected`: {"row", "field", "detail"}, at most 200 kept."""

    rows: int
    examples: list[str]
    rejected_rows: int
    rejected: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "examples": self.examples,
            "rejected_rows": self.rejected_rows,
            "rejected": self.rejected[:MOST_REASONS],
        }


def read_labelled_row(row: Sequence[Any], pipeline: Pipeline) -> tuple[tuple[Any, ...], str, list[FieldError]]:
    """A raw row in the source's order -> values of the inputs, label, mistakes."""
    if not isinstance(row, list) or len(row) != len(pipeline.columns):
        count = len(row) if isinstance(row, list) else 0
        return (), "", [FieldError("row", f"has {count} values, not {len(pipeline.columns)}")]
    raw = {column.name: value for column, value in zip(pipeline.columns, row, strict=True)}
    label = str(raw.pop(pipeline.target)).strip()
    values, errors = read_row(raw, pipeline.input_columns())
    if label not in pipeline.label_values:
        errors.append(FieldError(pipeline.target, f"{label[:40]!r} is no label"))
    return values, label, errors


def check_rows(rows: Sequence[Any], pipeline: Pipeline) -> Report:
    """The report on raw rows: usable ones by hash, the rest with reasons."""
    examples: list[str] = []
    rejected: list[dict[str, Any]] = []
    bad = 0
    for number, row in enumerate(rows):
        values, _, errors = read_labelled_row(row, pipeline)
        if errors:
            bad += 1
            rejected += [{"row": number, **error.as_dict()} for error in errors]
        else:
            examples.append(example_hash(canonical_row(values))[:SHORT])
    return Report(len(rows), examples, bad, rejected)


def check_picture(body: bytes) -> Report:
    """The report on one picture file."""
    try:
        return Report(1, [example_hash(canonical_picture(body))[:SHORT]], 0, [])
    except Unusable as error:
        return Report(1, [], 1, [{"row": 0, "field": "picture", "detail": error.detail}])
