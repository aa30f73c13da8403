"""From a sample, a file or a hash to the versions that used its examples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.datasets import csv_rows
from common.errors import NotFound, Unusable
from common.features import canonical_row, read_row
from common.pictures import canonical_picture
from provenance.place import Place
from train.snapshot import labelled_examples
from train.stored_snapshot import LEAST_START, Listed, read_snapshot


@dataclass(frozen=True)
class Use:
    """One version and those of the examples that it used; `missing` says why that can't be known."""

    version: str
    champion: str
    decision: str
    snapshot: str
    examples: list[Listed]
    missing: str | None = None


def examples_of_sample(place: Place, wanted: str) -> tuple[str, list[str]]:
    """Key and example hashes of a stored sample, given by its key or by the sha256 in it. Raises NotFound."""
    dataset = place.dataset
    found = [sample for sample in dataset.samples() if wanted in (sample.key, sample.meta["sha256"])]
    if not found:
        root = f"{dataset.objects.where}, {dataset.root}samples/"
        raise NotFound(f"no sample {wanted} in {root}: give the whole key, or the sha256 at its end")
    hashes: list[str] = []
    for sample, body in dataset.bodies(found):
        labelled = labelled_examples(place.pipeline, sample, body)
        hashes += [hashlib.sha256(canonical).hexdigest() for _, _, canonical, _ in labelled]
    return found[0].key, list(dict.fromkeys(hashes))


def examples_of_file(place: Place, path: Path) -> list[str]:
    """Example hashes of a picture, or of the rows of a CSV with a header (the target may be missing).

    Raises Unusable for a file that is neither, naming the first row that can't be read.
    """
    if place.pipeline.kind == "image":
        return [hashlib.sha256(canonical_picture(path.read_bytes())).hexdigest()]
    columns = place.pipeline.input_columns()
    names = [column["name"] for column in columns]
    hashes = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, row in enumerate(csv_rows(lines, names), start=1):
                values, errors = read_row(dict(zip(names, row, strict=True)), columns)
                if errors:
                    raise Unusable(f"{path}, row {number}: {errors[0].field}: {errors[0].detail}")
                hashes.append(hashlib.sha256(canonical_row(values)).hexdigest())
    except UnicodeDecodeError:
        raise Unusable(f"{path} is not a CSV in UTF-8") from None
    return list(dict.fromkeys(hashes))


def uses_of(place: Place, hashes: list[str], on_snapshot: Callable[[int, int], None], starts: bool) -> list[Use]:
    """The versions that used one of the examples, newest first, and those whose snapshot is gone.

    `starts`: the hashes may be cut short. A snapshot that several versions share is read once.
    """
    if starts and len(hashes[0]) < LEAST_START:
        raise NotFound(f"{hashes[0]} is too short: {LEAST_START} characters of the hash are the least")
    champion, versions = place.champion(), place.versions()
    wanted = set(hashes)
    read: dict[str, tuple[list[Listed], str | None]] = {}
    tagged = [(one, str(one["tags"].get("sabueso.snapshot", ""))) for one in versions]
    distinct = list(dict.fromkeys(fingerprint for _, fingerprint in tagged if fingerprint))
    for done, fingerprint in enumerate(distinct, start=1):
        try:
            listed = read_snapshot(place.pipeline, place.dataset, fingerprint).examples
            hits = [one for one in listed if (one.example.startswith(hashes[0]) if starts else one.example in wanted)]
            read[fingerprint] = (hits, None)
        except (NotFound, Unusable) as error:
            read[fingerprint] = ([], error.detail)
        on_snapshot(done, len(distinct))
    found = []
    for one, fingerprint in tagged:
        hits, missing = read.get(fingerprint, ([], "no tag sabueso.snapshot: train did not make it"))
        number, tags = str(one["version"]), one["tags"]
        if hits or missing:
            mark = "champion" if number == champion else ""
            found.append(Use(number, mark, tags.get("sabueso.decision", ""), fingerprint, hits, missing))
    return found


def one_example(used: list[Use], start: str) -> str:
    """The whole hash that begins so. Raises NotFound if several do, or no version used one."""
    found = {one.example for use in used for one in use.examples}
    if len(found) == 1:
        return found.pop()
    raise NotFound(
        f"several examples begin with {start}: give more of the hash"
        if found
        else f"no version used an example {start}"
    )
