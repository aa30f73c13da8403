"""The data of a quality benchmark: the shared data, or others of the same form, split as train splits them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.csv_rows import csv_rows
from common.errors import Unusable
from common.inference.features import canonical_row, read_row
from common.inference.pictures import canonical_picture
from common.pipeline_files import parse_pipeline
from common.pipelines import Pipeline
from train.snapshot import Split, split_of

ROOT = Path(__file__).resolve().parents[2]
SHARED = "SABUESO_SHARED_DATA"
KEY = "of a benchmark"  # signs the bundles
TEST_ROWS = 10_000
# The test data are separate, so the training data need no holdout.
FRACTIONS = (0.9, 0.1, 0.0)
MANY_ROWS = 20_000
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


@dataclass(frozen=True)
class Spec:
    """One training. With `rows`, train and test are drawn from one CSV.

    With `folds`, `train` is divided into that many folds, number `fold` is scored, and `test` is not used.
    """

    task: str
    pipeline: str
    model: str
    seed: int
    budget_s: float
    full_budget_s: float
    train: str
    test: str
    rows: int = 0
    fold: int = 0
    folds: int = 0
    backbone: str = ""
    image_size: int = 0

    @property
    def name(self) -> str:
        size = f"{self.image_size}px" if self.image_size else ""
        fold = f"fold{self.fold}" if self.folds else ""
        return "-".join(filter(None, (self.task, self.backbone, size, self.model, str(self.seed), fold)))


class Example(NamedTuple):
    """`name`: number of the row (1 follows the header) or file. `digest`: of the canonical features."""

    name: str
    input: Any
    label: int
    digest: bytes
    split: Split


class Data:
    """Examples in their order, as arrays for the models."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.names, self.inputs = [example.name for example in examples], [example.input for example in examples]
        self.labels = np.array([example.label for example in examples], dtype=np.int64)


def shared_tasks(environment: Mapping[str, str] = os.environ) -> dict[str, Spec]:
    """The tasks on the shared data, each a Spec without model and seed."""
    root = Path(environment.get(SHARED) or ROOT.parent / "shared" / "data")
    table, pets = str(root / "covertype" / "covertype.csv.gz"), root / "pets"
    train, test = str(pets / "train"), str(pets / "validation")
    return {
        "covertype": Spec("covertype", "covertype", "", 0, 300, 300, table, table, rows=10_458),
        "covertype_50k": Spec("covertype_50k", "covertype", "", 0, 600, 600, table, table, rows=50_000),
        "pets": Spec("pets", "pets", "", 0, 180, 180, train, test),
    }


def given_task(train: Path, test: Path) -> Spec:
    """The task for data of the user, by their form. Raises Unusable."""
    for path in (train, test):
        if not path.exists():
            raise Unusable(f"{path} does not exist")
    if train.is_dir() != test.is_dir():
        raise Unusable(f"{train} and {test} differ: give two CSV files, or two folders with a folder for each label")
    if train.is_dir():
        return Spec("pets", "pets", "", 0, 180, 180, str(train), str(test))
    with _opened(train) as lines:
        budget = 600 if sum(1 for _ in lines) > MANY_ROWS else 300
    return Spec("covertype", "covertype", "", 0, budget, budget, str(train), str(test))


def pipeline_of(spec: Spec) -> Pipeline:
    """The shipped pipeline with the budget, seed, backbone and image size of the task."""
    raw = tomllib.loads((ROOT / "functions" / "pipelines" / f"{spec.pipeline}.toml").read_text(encoding="utf-8"))
    raw["train"] |= {"budget_s": spec.budget_s, "seed": spec.seed}
    if raw["kind"] == "image":
        raw["train"] |= {key: value for key in ("backbone", "image_size") if (value := getattr(spec, key))}
    return parse_pipeline(raw, spec.pipeline)


def read_train(spec: Spec, pipeline: Pipeline) -> tuple[Data, Data]:
    """Train and tune: distinct examples, split by hash. Raises Unusable."""
    examples = _read(Path(spec.train), pipeline)
    if spec.rows:
        if len(examples) < TEST_ROWS + spec.rows:
            raise Unusable(f"{spec.train} has {len(examples):,} rows; {spec.task} takes {TEST_ROWS + spec.rows:,}")
        examples = _shuffled(_shuffled(examples, 0)[TEST_ROWS:], spec.seed)[: spec.rows]
    if spec.folds:
        examples = [example for example in examples if _fold(example, spec) != spec.fold]
    distinct: dict[bytes, Example] = {}
    for example in examples:
        distinct.setdefault(example.digest, example)
    splits = (Split.TRAIN, Split.TUNE)
    train, tune = (Data([example for example in distinct.values() if example.split == split]) for split in splits)
    for split, data in zip(splits, (train, tune), strict=True):
        if len(set(data.labels)) < 2:
            count = len(data.labels)
            raise Unusable(f"{spec.train}: {count} {split.label} examples of fewer than two labels; give more")
    return train, tune


def read_test(spec: Spec, pipeline: Pipeline) -> Data:
    """The examples to score; with `rows`, the same 10,000 for every seed. Raises Unusable."""
    if spec.folds:
        return Data([example for example in _read(Path(spec.train), pipeline) if _fold(example, spec) == spec.fold])
    examples = _read(Path(spec.test), pipeline)
    return Data(_shuffled(examples, 0)[:TEST_ROWS] if spec.rows else examples)


def _fold(example: Example, spec: Spec) -> int:
    """1 to the number of folds; equal examples are in the same fold."""
    return int.from_bytes(example.digest[-4:], "big") % spec.folds + 1


def _shuffled(examples: Sequence[Example], seed: int) -> list[Example]:
    return [examples[place] for place in np.random.default_rng(seed).permutation(len(examples))]


def _read(path: Path, pipeline: Pipeline) -> list[Example]:
    """A CSV with the pipeline's columns, or a folder with a folder of pictures for each label. Raises Unusable."""
    try:
        examples = list((_pictures if pipeline.kind == "image" else _rows)(path, pipeline))
    except (OSError, EOFError, UnicodeDecodeError, Unusable) as error:
        raise Unusable(f"{path}: {error}") from None
    if not examples:
        raise Unusable(f"{path} holds no rows")
    return examples


def _example(name: str, value: Any, label: int, canonical: bytes) -> Example:
    return Example(name, value, label, hashlib.sha256(canonical).digest(), split_of(canonical, fractions=FRACTIONS))


def _opened(path: Path) -> io.TextIOWrapper:
    is_gzip = path.read_bytes()[:2] == b"\x1f\x8b"
    return io.TextIOWrapper(gzip.open(path) if is_gzip else path.open("rb"), "utf-8-sig", newline="")  # type: ignore[arg-type]


def _rows(path: Path, pipeline: Pipeline) -> Iterator[Example]:
    names = [column.name for column in pipeline.columns]
    columns, index = pipeline.inputs, {value: place for place, value in enumerate(pipeline.label_values)}
    with _opened(path) as lines:
        for number, row in enumerate(csv_rows(lines, names), start=1):
            raw = dict(zip(names, row, strict=True))
            label = raw.pop(pipeline.target.column).strip()
            values, errors = read_row(raw, columns)
            if errors or label not in index:
                wrong = f"{errors[0].field}: {errors[0].detail}" if errors else f"{label!r} is not a label"
                raise Unusable(f"row {number}: {wrong}")
            yield _example(str(number), values, index[label], canonical_row(values))


def _pictures(path: Path, pipeline: Pipeline) -> Iterator[Example]:
    for place, label in enumerate(pipeline.labels):
        folders = [path / name for name in (label.value, *label.folders)]
        files = sorted(file for folder in folders for file in folder.glob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            wanted = ", ".join(pipeline.label_values)
            raise Unusable(f"no pictures in a folder {label.value}; the folders {wanted} are needed")
        for file in files:
            name, body = f"{file.parent.name}/{file.name}", file.read_bytes()
            try:
                yield _example(name, body, place, canonical_picture(body))
            except Unusable as error:
                raise Unusable(f"{name}: {error.detail}") from None
