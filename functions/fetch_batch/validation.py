"""Which rows and pictures of a sample can be used, and why the others are quarantined. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import Unusable
from common.inference.features import canonical_row, example_hash
from common.inference.picture_files import PictureLimits
from common.inference.pictures import canonical_picture
from common.labelled_rows import read_labelled_row
from common.pipelines import Pipeline
from common.storage.dataset import Rejection

# Characters of a sha256 that are enough to count distinct examples; a snapshot computes the whole hash again.
SHORT = 16
MAX_REASONS = 200


@dataclass(frozen=True)
class ValidationReport:
    """`examples`: short hashes of the usable ones; `rejected`: at most 200 reasons."""

    rows: int
    examples: list[str]
    rejected_rows: int
    rejected: list[Rejection]


def check_rows(rows: Sequence[Any], pipeline: Pipeline) -> ValidationReport:
    """The report on raw rows: usable ones by hash, the rest with reasons."""
    examples: list[str] = []
    rejected: list[Rejection] = []
    rejected_rows = 0
    for number, row in enumerate(rows):
        values, _, errors = read_labelled_row(row, pipeline)
        if errors:
            rejected_rows += 1
            rejected += [Rejection(row=number, field=error.field, detail=error.detail) for error in errors]
        else:
            examples.append(example_hash(canonical_row(values))[:SHORT])
    return ValidationReport(len(rows), examples, rejected_rows, rejected[:MAX_REASONS])


def check_picture(body: bytes, limits: PictureLimits) -> ValidationReport:
    """The report on one picture file."""
    try:
        return ValidationReport(1, [example_hash(canonical_picture(body, limits))[:SHORT]], 0, [])
    except Unusable as error:
        return ValidationReport(1, [], 1, [Rejection(row=0, field="picture", detail=error.detail)])
