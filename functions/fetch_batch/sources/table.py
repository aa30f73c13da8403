"""The source `table`: CSV files (plain or .gz); each fetch takes the next rows."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections.abc import Callable, Generator
from contextlib import closing
from typing import BinaryIO, cast

from common.csv_rows import csv_rows
from common.errors import Unusable
from common.pipelines import Pipeline
from common.redaction import shown_url
from common.storage.dataset import Dataset, SampleMeta, SampleSource, sample_digest
from common.timestamps import timestamp
from fetch_batch.errors import SourceUnavailable
from fetch_batch.fetch_stats import FetchStats
from fetch_batch.settings import FetchSettings
from fetch_batch.sources.files import File, list_files
from fetch_batch.validation import check_rows

SUFFIXES = (".csv", ".csv.gz")
MAX_FILES = 8  # that an error names


def collect_table(
    pipeline: Pipeline,
    dataset: Dataset,
    location: str,
    settings: FetchSettings,
    stats: FetchStats,
    check_source: Callable[[bool], None],
) -> None:
    """Store the next `examples_per_fetch` rows as one sample. Raises SourceUnavailable."""
    samples = dataset.samples()
    names = [column.name for column in pipeline.columns]
    taken = sum(sample.meta.rows for sample in samples)
    batch = max((sample.batch for sample in samples), default=0) + 1
    with closing(_rows(location, names, settings)) as rows:
        next_rows = list(itertools.islice(rows, taken, taken + pipeline.source.examples_per_fetch))
    check_source(False)
    if not next_rows:
        stats.message = "every row of the source is stored"
        return
    text = io.StringIO(newline="")
    csv.writer(text).writerows([names, *next_rows])
    body, report = text.getvalue().encode(), check_rows(next_rows, pipeline)
    meta = SampleMeta(
        batch=batch,
        sha256=sample_digest(body),
        format="csv",
        time=timestamp(),
        source=SampleSource(path=location),
        first_row=taken,
        **vars(report),
    )
    stats.add(batch, dataset.add_sample(body, meta), report)


def _rows(location: str, names: list[str], settings: FetchSettings) -> Generator[list[str]]:
    shown = shown_url(location)
    files = sorted(list_files(location, settings), key=lambda file: file.name)
    tables = [file for file in files if file.name.endswith(SUFFIXES)]
    if not tables:
        there = ", ".join(file.name for file in files[:MAX_FILES]) or "nothing"
        more = f" and {len(files) - MAX_FILES} more" if len(files) > MAX_FILES else ""
        raise SourceUnavailable(f"{shown} holds no CSV file ({', '.join(SUFFIXES)}); it holds {there}{more}")
    for file in tables:
        yield from _file_rows(file, shown, names)


def _file_rows(file: File, shown: str, names: list[str]) -> Generator[list[str]]:
    """Rows as they are read: a table may be larger than the memory of this function."""
    try:
        with file.open() as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            plain = gzip.open(raw) if compressed else raw  # noqa: SIM115 (the wrapper closes it)
            with io.TextIOWrapper(cast(BinaryIO, plain), "utf-8-sig", newline="") as text:
                yield from csv_rows(text, names)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceUnavailable(f"{file.name} of {shown} can't be read: {error}") from None
    except Unusable as error:
        raise SourceUnavailable(f"{file.name} of {shown}: {error.detail}") from None
