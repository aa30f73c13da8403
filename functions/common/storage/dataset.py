"""The stored data of a pipeline: source, intents, samples."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import model_validator

from common.csv_rows import csv_rows
from common.documents import Document, RedactedText, ShownUrl
from common.errors import Conflict
from common.redaction import HIDDEN, shown_url, without_account
from common.storage import keys
from common.storage.object_store import ObjectStore

READERS = 8
CHUNK = 64
D = TypeVar("D", bound=Document)


class SourceDocument(Document):
    """Where a pipeline's stored data come from, without credentials. `since`: when the first data arrived.

    `params`: those that are no secret; `identity` tells two sources apart by what is not shown, too.
    """

    type: str
    location: str
    params: dict[str, str] = {}
    made_up: bool = False
    since: str = ""
    identity: str

    @model_validator(mode="before")
    @classmethod
    def _hide_secrets(cls, given: Any) -> Any:
        """Documents of earlier versions have no identity, but the whole URL and the values of all params."""
        match given:
            case {"type": str(kind), "location": str(location), **rest} if not rest.get("identity"):
                params = rest.get("params", {})
                if isinstance(params, dict):
                    hidden = {"location": shown_url(location), "params": dict.fromkeys(params, HIDDEN)}
                    return {**given, **hidden, "identity": source_identity(kind, location, params)}
        return given

    def is_same_place(self, other: SourceDocument) -> bool:
        return self.identity == other.identity


def source_identity(kind: str, location: str, params: Mapping[str, str]) -> str:
    """sha256 of what makes a source another one. Its account and password do not: they may be renewed."""
    place = without_account(location) if "://" in location else location
    return hashlib.sha256(json.dumps([kind, place, dict(params)], sort_keys=True).encode()).hexdigest()


class IntentDocument(Document):
    """Written before a request is sent. `lease`: nonce of the fetch; `outcome`: None until the answer is handled,
    then stored, duplicate, exhausted or `failed: REASON`.
    """

    EXHAUSTED: ClassVar[str] = "exhausted"
    FAILED: ClassVar[str] = "failed: "

    id: str
    time: str
    lease: str
    outcome: RedactedText | None = None

    def stored(self, is_new: bool) -> Self:
        return self.with_outcome("stored" if is_new else "duplicate")

    def exhausted(self) -> Self:
        return self.with_outcome(self.EXHAUSTED)

    def failed(self, reason: str) -> Self:
        return self.with_outcome(f"{self.FAILED}{reason}")

    def with_outcome(self, outcome: str | None) -> Self:
        return self.model_copy(update={"outcome": outcome})

    @property
    def is_exhausted(self) -> bool:
        return self.outcome == self.EXHAUSTED

    @property
    def failure(self) -> str | None:
        """Why the request failed, or None."""
        if self.outcome is None or not self.outcome.startswith(self.FAILED):
            return None
        return self.outcome.removeprefix(self.FAILED)


class SampleSource(Document):
    """As it may be shown; earlier versions stored whole URLs and params."""

    url: ShownUrl | None = None
    path: ShownUrl | None = None
    params: dict[str, str] = {}


class Rejection(Document):
    """Why a row of a sample is quarantined."""

    row: int
    field: str
    detail: str


class SampleMeta(Document):
    """What is known about a sample. `examples`: short hashes of the usable ones.

    `name` and `label` are a picture's, `first_row` is where a table's sample begins in its source.
    """

    batch: int
    sha256: str
    format: Literal["json", "csv", "picture"]
    time: str
    source: SampleSource
    intent: str | None = None
    made_up: bool = False
    generation: int = 1
    rows: int
    examples: list[str] = []
    rejected_rows: int = 0
    rejected: list[Rejection] = []
    name: str | None = None
    label: str | None = None
    first_row: int | None = None


@dataclass(frozen=True)
class Sample:
    """A committed sample; `key` is the body's."""

    key: str
    meta: SampleMeta

    @property
    def batch(self) -> int:
        return self.meta.batch


def count_examples(samples: Iterable[Sample]) -> int:
    """Distinct examples as counted when they were received, whatever the pipeline file says now."""
    return len({example for sample in samples for example in sample.meta.examples})


class Dataset:
    """The stored data of one pipeline. Metas never change, so each is read once and kept."""

    def __init__(self, store: ObjectStore, pipeline: str) -> None:
        self.store = store
        self.pipeline = pipeline
        self._metas: dict[str, SampleMeta] = {}

    def source(self) -> SourceDocument | None:
        key = keys.source(self.pipeline)
        stored = self.store.get(key)
        return None if stored is None else SourceDocument.decode(stored.body, key)

    def set_source(self, source: SourceDocument) -> None:
        """Write the source, once. Raises Conflict if there is one already."""
        self.store.put(keys.source(self.pipeline), source.encode(), if_absent=True)

    def upgraded_source(self, given: SourceDocument) -> SourceDocument | None:
        """The source; one that an earlier version stored with its secrets is rewritten. `given`: the source of now."""
        key = keys.source(self.pipeline)
        stored = self.store.get(key)
        if stored is None:
            return None
        source = SourceDocument.decode(stored.body, key)
        if "identity" not in json.loads(stored.body):
            if source.is_same_place(given):
                source = source.model_copy(update={"params": given.params})
            with contextlib.suppress(Conflict):  # another fetch has rewritten it
                self.store.put(key, source.encode(), if_match=stored.etag)
        return source

    def samples(self) -> list[Sample]:
        """Every committed sample, by batch, then by time of arrival."""
        listed = set(self.store.list(keys.samples(self.pipeline)))
        bodies = (key for key in listed if not key.endswith(keys.META))
        committed = sorted(key for key in bodies if keys.sample_meta(key) in listed)
        unread = [key for key in committed if key not in self._metas]
        metas = self._read_all(SampleMeta, [keys.sample_meta(key) for key in unread])
        self._metas.update(zip(unread, metas, strict=True))
        samples = [Sample(key, self._metas[key]) for key in committed]
        return sorted(samples, key=lambda sample: (sample.batch, sample.meta.time, sample.key))

    def add_sample(self, body: bytes, meta: SampleMeta) -> bool:
        """Store a sample, meta first; the body's key is the commit. False if it is stored already."""
        key = keys.sample(self.pipeline, meta.batch, meta.sha256)
        if self.store.get(keys.sample_meta(key)) is not None and self.store.get(key) is not None:
            return False
        # A meta without a body was left by a killed process; this one replaces it.
        self.store.put(keys.sample_meta(key), meta.encode())
        try:
            self.store.put(key, body, if_absent=True)
        except Conflict:
            return False
        return True

    def bodies(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, bytes]]:
        """Each sample with its body, in order; several are read at a time."""
        listed = list(samples)
        for start in range(0, len(listed), CHUNK):
            chunk = listed[start : start + CHUNK]
            with ThreadPoolExecutor(READERS) as pool:
                stored = pool.map(lambda sample: self.store.get(sample.key), chunk)
            for sample, body in zip(chunk, stored, strict=True):
                if body is not None:
                    yield sample, body.body

    def intents(self) -> list[IntentDocument]:
        return self._read_all(IntentDocument, list(self.store.list(keys.intents(self.pipeline))))

    def write_intent(self, intent: IntentDocument, etag: str | None = None) -> str:
        """Write a new intent, or (with its ETag) its outcome; returns the ETag."""
        key = keys.intent(self.pipeline, intent.id)
        return self.store.put(key, intent.encode(), if_absent=etag is None, if_match=etag)

    def _read_all(self, kind: type[D], listed: Sequence[str]) -> list[D]:
        with ThreadPoolExecutor(READERS) as pool:
            stored = pool.map(self.store.get, listed)
        return [kind.decode(one.body, key) for key, one in zip(listed, stored, strict=True) if one is not None]


def sample_digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def rows_of(sample: Sample, body: bytes, names: Sequence[str]) -> list[Any]:
    """The raw rows of a tabular sample, their values in the order of `names`, as the source gave them."""
    if sample.meta.format == "csv":
        return list(csv_rows(io.StringIO(body.decode("utf-8-sig"), newline=""), names))
    return list(json.loads(body)["data"])
