"""What is stored of a pipeline's data: the keys, the records behind them, and how samples are read back."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from common.errors import Conflict, FieldError, Unusable
from common.objects import Objects

READERS = 8
MOST_NAMED = 20  # columns of a wrong header that a message names


@dataclass(frozen=True)
class Sample:
    """A committed sample: `meta` as written before the body, `key` of the body."""

    key: str
    meta: dict[str, Any]

    @property
    def batch(self) -> int:
        return int(self.meta["batch"])


def distinct_examples(samples: list[Sample]) -> int:
    """As they were counted when they were received, whatever the pipeline file says of them by now."""
    return len({example for sample in samples for example in sample.meta.get("examples", ())})


class Dataset:
    """The stored data of one pipeline. Metas never change, so each is read once and kept."""

    def __init__(self, objects: Objects, pipeline: str) -> None:
        self.objects = objects
        self.pipeline = pipeline
        self.root = f"datasets/{pipeline}/"
        self._metas: dict[str, dict[str, Any]] = {}

    def source(self) -> dict[str, Any] | None:
        found = self.objects.get(self.root + "source.json")
        return None if found is None else json.loads(found.body)

    def set_source(self, source: dict[str, Any]) -> None:
        """Write source.json, once. Raises Conflict if it is there."""
        self.objects.put(self.root + "source.json", json.dumps(source).encode(), if_absent=True)

    def samples(self) -> list[Sample]:
        """Every committed sample, by batch, then by time of arrival."""
        keys = set(self.objects.list(self.root + "samples/"))
        committed = sorted(key for key in keys if not key.endswith(".meta.json") and f"{key}.meta.json" in keys)
        unread = [key for key in committed if key not in self._metas]
        self._metas.update(zip(unread, self._read_all(f"{key}.meta.json" for key in unread), strict=True))
        found = [Sample(key, self._metas[key]) for key in committed]
        return sorted(found, key=lambda sample: (sample.batch, sample.meta["time"], sample.key))

    def add_sample(self, batch: int, body: bytes, meta: dict[str, Any]) -> bool:
        """Store a sample, meta first; the body's key is the commit. False if it is stored already."""
        digest = hashlib.sha256(body).hexdigest()
        key = f"{self.root}samples/{batch}/{digest}"
        if self.objects.get(f"{key}.meta.json") is not None and self.objects.get(key) is not None:
            return False
        # A meta without a body is what a killed process left: this answer takes its place.
        self.objects.put(f"{key}.meta.json", json.dumps({"batch": batch, "sha256": digest, **meta}).encode())
        try:
            self.objects.put(key, body, if_absent=True)
        except Conflict:
            return False
        return True

    def bodies(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, bytes]]:
        """Each sample with its body, read side by side, in order."""
        listed = list(samples)
        for start in range(0, len(listed), 64):
            part = listed[start : start + 64]
            with ThreadPoolExecutor(READERS) as pool:
                bodies = pool.map(lambda sample: self.objects.get(sample.key), part)
            for sample, found in zip(part, bodies, strict=True):
                if found is not None:
                    yield sample, found.body

    def intents(self) -> list[dict[str, Any]]:
        return self._read_all(self.objects.list(self.root + "intents/"))

    def write_intent(self, intent: dict[str, Any], etag: str | None = None) -> str:
        """Write a new intent, or (with its ETag) its outcome."""
        key = f"{self.root}intents/{intent['id']}.json"
        return self.objects.put(key, json.dumps(intent).encode(), if_absent=etag is None, if_match=etag)

    def _read_all(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(self.objects.get, keys)
        return [json.loads(one.body) for one in found if one is not None]


def rows_of(sample: Sample, body: bytes, names: Sequence[str]) -> list[list[str]]:
    """The raw rows of a tabular sample, their values in the order of `names`."""
    if sample.meta["format"] == "csv":
        return list(csv_rows(io.StringIO(body.decode("utf-8-sig"), newline=""), names))
    return list(json.loads(body)["data"])


def csv_rows(lines: Iterable[str], names: Sequence[str]) -> Iterator[list[str]]:
    """Rows of a CSV with header, values in the order of `names`. Raises Unusable if a column is missing."""
    reader = csv.reader(lines)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [FieldError(name, "no such column in the header") for name in names if name not in header]
        if missing:
            lacking = ", ".join(one.field for one in missing)
            raise Unusable(f"the CSV lacks columns: {lacking}; {_describe_header(header, names)}", tuple(missing))
        places = [header.index(name) for name in names]
        whole, as_they_are = max(places) + 1, places == list(range(len(header)))
        for row in reader:
            if len(row) == whole and as_they_are:
                yield row
            elif row:
                row += [""] * (whole - len(row))
                yield [row[place] for place in places]
    except csv.Error as error:
        raise Unusable(f"not a CSV: {error}") from None


def _describe_header(header: list[str], names: Sequence[str]) -> str:
    """What a wrong header holds. A first line that names no column may be a row of data, which no message shows."""
    if not set(header) & set(names):
        return "its first line names none of the columns"
    more = f" and {len(header) - MOST_NAMED} more" if len(header) > MOST_NAMED else ""
    return f"its header has: {', '.join(header[:MOST_NAMED])}{more}"
