"""The forms of an export. Each example keeps its part of the split and its hash."""

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
from common.pictures import FORMATS as PICTURES
from common.pipelines import Pipeline
from train.stored_snapshot import Listed

Examples = Iterable[tuple[Listed, Any]]
Write = Callable[[Pipeline, Examples, Path], None]
# Rows of a Parquet row group: pictures stand whole in memory meanwhile.
GROUP = {"tabular": 20_000, "image": 64}
SUFFIXES = {"JPEG": "jpg"}
EXTRA = ("part", "example", "sample", "row")


def extra_names(pipeline: Pipeline) -> tuple[str, ...]:
    """The names of the columns that an export adds; one that the pipeline has itself gets an underscore."""
    taken = {column.name for column in pipeline.columns}
    return tuple(f"{name}_" if name in taken else name for name in EXTRA)


def write_csv(pipeline: Pipeline, examples: Examples, path: Path) -> None:
    """Rows: the columns in the source's order, the target among them. Pictures: label and sample, not the file."""
    names = [column.name for column in pipeline.columns] if pipeline.kind == "tabular" else ["label"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, *extra_names(pipeline)])
        for listed, value in examples:
            cells = _cells(pipeline, listed, value) if pipeline.kind == "tabular" else [listed.label]
            writer.writerow([*map(_plain, cells), listed.part, listed.example, listed.sample, listed.row])


def write_parquet(pipeline: Pipeline, examples: Examples, path: Path) -> None:
    """As CSV, with types; pictures have a column `picture` with the file as it was received."""
    schema = _schema(pipeline)
    rows = iter(examples)
    with parquet.ParquetWriter(path, schema) as writer:
        while part := list(islice(rows, GROUP[pipeline.kind])):
            writer.write_table(pa.Table.from_pylist(list(_records(pipeline, schema.names, part)), schema=schema))


def write_folders(pipeline: Pipeline, examples: Examples, path: Path) -> None:
    """PART/LABEL/HASH.jpg, each file as it was received: a source of type `images` reads such a folder."""
    for listed, body in examples:
        if "/" in listed.label or listed.label.startswith("."):
            raise Unusable(f"the label {listed.label!r} can't be a folder's name; take parquet")
        folder = path / listed.part / listed.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{listed.example}.{_suffix(body)}").write_bytes(body)


FORMATS: dict[str, Write] = {"csv": write_csv, "parquet": write_parquet, "folders": write_folders}


def _cells(pipeline: Pipeline, listed: Listed, values: tuple[Any, ...]) -> list[Any]:
    given = iter(values)
    return [listed.label if column.name == pipeline.target else next(given) for column in pipeline.columns]


def _plain(value: Any) -> str:
    """A number so that reading it gives the same number: 51 for 51.0, else all its digits."""
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


def _schema(pipeline: Pipeline) -> pa.Schema:
    if pipeline.kind == "image":
        fields = [("picture", pa.binary()), ("label", pa.string())]
    else:
        numbers = {column.name for column in pipeline.inputs if column.type == "number"}
        fields = [(one.name, pa.float64() if one.name in numbers else pa.string()) for one in pipeline.columns]
    extra = extra_names(pipeline)
    return pa.schema([*fields, *((name, pa.string()) for name in extra[:-1]), (extra[-1], pa.int64())])


def _records(pipeline: Pipeline, names: list[str], part: list[tuple[Listed, Any]]) -> Iterator[dict[str, Any]]:
    for listed, value in part:
        cells = [value, listed.label] if pipeline.kind == "image" else _cells(pipeline, listed, value)
        cells += [listed.part, listed.example, listed.sample, listed.row]
        yield dict(zip(names, cells, strict=True))


def _suffix(body: bytes) -> str:
    with Image.open(io.BytesIO(body), formats=list(PICTURES)) as picture:
        kind = str(picture.format)
    return SUFFIXES.get(kind, kind.lower())
