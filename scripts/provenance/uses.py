"""From a sample, a file or a hash to the versions that used its examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.csv_rows import csv_rows
from common.documents import DamagedDocument
from common.errors import NotFound, Unusable
from common.inference.features import canonical_row, example_hash, read_row
from common.inference.pictures import canonical_picture
from common.storage import keys
from provenance.data_access import NO_SNAPSHOT_TAG, DataAccess
from provenance.snapshots import MIN_PREFIX, SnapshotExample, read_snapshot
from train.snapshot import labelled_examples


@dataclass(frozen=True)
class Use:
    """A version and the examples that it used; `missing` is the reason if they are unknown."""

    version: str
    champion: str
    decision: str
    snapshot: str
    examples: list[SnapshotExample]
    missing: str | None = None


def examples_of_sample(data: DataAccess, wanted: str) -> tuple[str, list[str]]:
    """Key and example hashes of a stored sample, found by its key or by its sha256. Raises NotFound."""
    dataset = data.dataset
    matches = [sample for sample in dataset.samples() if wanted in (sample.key, sample.meta.sha256)]
    if not matches:
        where = f"{dataset.store.where}, {keys.samples(dataset.pipeline)}"
        raise NotFound(f"no sample {wanted} in {where}: give the full key, or the sha256 at its end")
    hashes: list[str] = []
    for sample, body in dataset.bodies(matches):
        hashes += [example_hash(example.canonical) for example in labelled_examples(data.pipeline, sample, body)]
    return matches[0].key, list(dict.fromkeys(hashes))


def examples_of_file(data: DataAccess, path: Path) -> list[str]:
    """Example hashes of a picture, or of the rows of a CSV with a header (the target may be missing).

    Raises Unusable for any other file, naming the first row that can't be read.
    """
    if data.pipeline.kind == "image":
        return [example_hash(canonical_picture(path.read_bytes()))]
    columns = data.pipeline.inputs
    names = [column.name for column in columns]
    hashes = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, row in enumerate(csv_rows(lines, names), start=1):
                values, errors = read_row(dict(zip(names, row, strict=True)), columns)
                if errors:
                    raise Unusable(f"{path}, row {number}: {errors[0].field}: {errors[0].detail}")
                hashes.append(example_hash(canonical_row(values)))
    except UnicodeDecodeError:
        raise Unusable(f"{path} is not a CSV in UTF-8") from None
    return list(dict.fromkeys(hashes))


def uses_of(data: DataAccess, hashes: list[str], on_snapshot: Callable[[int, int], None], by_prefix: bool) -> list[Use]:
    """The versions that used one of the examples, newest first, and those whose snapshot can't be read.

    `by_prefix`: `hashes` holds the start of a hash.
    """
    if by_prefix and len(hashes[0]) < MIN_PREFIX:
        raise NotFound(f"{hashes[0]} is too short: give at least {MIN_PREFIX} characters of the hash")
    champion, versions = data.champion(), data.versions()
    wanted = set(hashes)
    # Versions may share a snapshot; each is read once.
    read: dict[str, tuple[list[SnapshotExample], str | None]] = {}
    distinct = list(dict.fromkeys(version.tags.snapshot for version in versions if version.tags.snapshot))
    for done, fingerprint in enumerate(distinct, start=1):
        try:
            examples = read_snapshot(data.pipeline, data.dataset, fingerprint).examples
        except (NotFound, Unusable, DamagedDocument) as error:
            read[fingerprint] = ([], error.detail)
        else:
            hits = [
                example
                for example in examples
                if (example.example.startswith(hashes[0]) if by_prefix else example.example in wanted)
            ]
            read[fingerprint] = (hits, None)
        on_snapshot(done, len(distinct))
    uses = []
    for version in versions:
        snapshot = version.tags.snapshot or ""
        hits, missing = read.get(snapshot, ([], NO_SNAPSHOT_TAG))
        if hits or missing:
            mark = "champion" if version.number == champion else ""
            uses.append(Use(version.number, mark, version.tags.decision or "", snapshot, hits, missing))
    return uses


def full_hash(uses: list[Use], prefix: str) -> str:
    """The hash that starts with `prefix`. Raises NotFound if several do, or if no version used such an example."""
    matches = {example.example for use in uses for example in use.examples}
    if len(matches) == 1:
        return matches.pop()
    raise NotFound(
        f"several examples start with {prefix}: give more characters of the hash"
        if matches
        else f"no version used an example {prefix}"
    )
