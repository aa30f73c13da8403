"""The formats of an export. Each example keeps its part of the split and its hash."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from common.errors import Unusable
from common.inference.picture_files import FORMATS as PICTURE_FORMATS
from common.pipelines import Pipeline
from provenance.snapshots import SnapshotExample

Examples = Iterable[tuple[SnapshotExample, Any]]
Write = Callable[[Pipeline, Examples, Path], None]
# Rows of a Parquet row group, which is held in memory: pictures are large.
GROUP_ROWS = {"tabular": 20_000, "image": 64}
SUFFIXES = {"JPEG": "jpg"}
EXTRA = ("part", "example", "sample", "row")


def extra_names(pipeline: Pipeline) -> tuple[str, ...]:
    """The names of the columns that an export adds, with an underscore where the pipeline has such a column."""
    taken = {column.name for column in pipeline.columns}
    return tuple(f"{name}_" if name in taken else name for name in EXTRA)


def write_csv(pipeline: Pipeline, examples: Examples, path: Path) -> None:
    """Rows: the columns in the source's order, target included. Pictures: label and sample, without the file."""
    names = [column.name for column in pipeline.columns] if pipeline.kind == "tabular" else ["label"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, *extra_names(pipeline)])
        for example, value in examples:
            cells = _cells(pipeline, example, value) if pipeline.kind == "tabular" else [example.label]
            writer.writerow([*map(_exact, cells), example.part, example.example, example.sample, example.row])


def write_parquet(pipeline: Pipeline, examples: Examples, path: Path) -> None:
    """As CSV, with types. For pictures, the column `picture` holds the file as received."""
    schema = _schema(pipeline)
    rows = iter(examples)
    with parquet.ParquetWriter(path, schema) as writer:
        while group := list(islice(rows, GROUP_ROWS[pipeline.kind])):
            writer.write_table(pa.Table.from_pylist(list(_records(pipeline, schema.names, group)), schema=schema))


def write_folders(pipeline: Pipeline, examples: Examples, path: Path) -> None:
    """Write each picture, unchanged, as SPLIT/LABEL/HASH.SUFFIX. A source of type `images` can read the folder."""
    for example, body in examples:
        if "/" in example.label or example.label.startswith("."):
            raise Unusable(f"the label {example.label!r} can't be the name of a folder; use parquet")
        folder = path / example.part / example.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{example.example}.{_suffix(body)}").write_bytes(body)


FORMATS: dict[str, Write] = {"csv": write_csv, "parquet": write_parquet, "folders": write_folders}


def _cells(pipeline: Pipeline, example: SnapshotExample, values: tuple[Any, ...]) -> list[Any]:
    inputs = iter(values)
    target = pipeline.target.column
    return [example.label if column.name == target else next(inputs) for column in pipeline.columns]


def _exact(value: Any) -> str:
    """Numbers with all their digits, so that they read back equal; 51.0 is written as 51."""
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


def _schema(pipeline: Pipeline) -> pa.Schema:
    if pipeline.kind == "image":
        fields = [("picture", pa.binary()), ("label", pa.string())]
    else:
        numbers = {column.name for column in pipeline.inputs if column.type == "number"}
        fields = [(column.name, pa.float64() if column.name in numbers else pa.string()) for column in pipeline.columns]
    extra = extra_names(pipeline)
    return pa.schema([*fields, *((name, pa.string()) for name in extra[:-1]), (extra[-1], pa.int64())])


def _records(
    pipeline: Pipeline, names: list[str], group: list[tuple[SnapshotExample, Any]]
) -> Iterator[dict[str, Any]]:
    for example, value in group:
        cells = [value, example.label] if pipeline.kind == "image" else _cells(pipeline, example, value)
        cells += [example.part, example.example, example.sample, example.row]
        yield dict(zip(names, cells, strict=True))


def _suffix(body: bytes) -> str:
    with Image.open(io.BytesIO(body), formats=list(PICTURE_FORMATS)) as picture:
        name = str(picture.format)
    return SUFFIXES.get(name, name.lower())
