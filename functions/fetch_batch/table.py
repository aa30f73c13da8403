"""The source `table`: CSV files (plain or .gz); each fetch takes the next rows."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections.abc import Callable, Generator
from contextlib import closing
from typing import BinaryIO, cast

from common.datasets import Dataset, csv_rows
from common.errors import SourceUnavailable, Unusable
from common.executions import timestamp
from common.pipelines import Pipeline
from common.settings import Settings
from fetch_batch.files import File, list_files
from fetch_batch.tally import Tally
from fetch_batch.validate import check_rows

SUFFIXES = (".csv", ".csv.gz")
MOST_FILES = 8  # that a message names


def collect_table(
    pipeline: Pipeline,
    dataset: Dataset,
    location: str,
    settings: Settings,
    tally: Tally,
    on_source: Callable[[bool], None],
) -> None:
    """Store the next `examples_per_fetch` rows as one sample. Raises SourceUnavailable."""
    samples = dataset.samples()
    names = [column.name for column in pipeline.columns]
    taken = sum(int(sample.meta["rows"]) for sample in samples)
    batch = max((sample.batch for sample in samples), default=0) + 1
    with closing(_rows(location, names, settings)) as rows:
        part = list(itertools.islice(rows, taken, taken + pipeline.source.examples_per_fetch))
    on_source(False)
    if not part:
        tally.message = "every row of the source is stored"
        return
    text = io.StringIO(newline="")
    csv.writer(text).writerows([names, *part])
    report = check_rows(part, pipeline)
    meta = {"format": "csv", "time": timestamp(), "intent": None, "first_row": taken}
    more = {"source": {"path": location}, "made_up": False, "generation": 1}
    stored = dataset.add_sample(batch, text.getvalue().encode(), {**meta, **more, **report.as_dict()})
    tally.add(batch, stored, report)


def _rows(location: str, names: list[str], settings: Settings) -> Generator[list[str]]:
    files = sorted(list_files(location, settings), key=lambda file: file.name)
    tables = [file for file in files if file.name.endswith(SUFFIXES)]
    if not tables:
        there = ", ".join(file.name for file in files[:MOST_FILES]) or "nothing"
        more = f" and {len(files) - MOST_FILES} more" if len(files) > MOST_FILES else ""
        raise SourceUnavailable(f"{location} holds no CSV file ({', '.join(SUFFIXES)}); it holds {there}{more}")
    for file in tables:
        yield from _file_rows(file, location, names)


def _file_rows(file: File, location: str, names: list[str]) -> Generator[list[str]]:
    """Rows as they are read: a table may be larger than the memory of this function."""
    try:
        with file.open() as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            plain = gzip.open(raw) if packed else raw  # noqa: SIM115 (the wrapper closes it)
            with io.TextIOWrapper(cast(BinaryIO, plain), "utf-8-sig", newline="") as text:
                yield from csv_rows(text, names)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceUnavailable(f"{file.name} of {location} can't be read: {error}") from None
    except Unusable as error:
        raise SourceUnavailable(f"{file.name} of {location}: {error.detail}") from None
