"""The source `images`: pictures in class-named folders; each fetch takes the next ones that are not stored yet."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from common.pipelines import Pipeline
from common.redaction import shown_url
from common.storage.dataset import Dataset, SampleMeta, SampleSource, sample_digest
from common.timestamps import timestamp
from fetch_batch.errors import SourceUnavailable
from fetch_batch.fetch_stats import STOPPED, FetchStats
from fetch_batch.settings import FetchSettings
from fetch_batch.sources.files import File, list_files
from fetch_batch.validation import check_picture

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
# A source that holds a file of this name has made-up data.
MADE_UP = "MADE-UP.txt"
MAX_FOLDERS = 8  # that an error names


def collect_images(
    pipeline: Pipeline,
    dataset: Dataset,
    location: str,
    settings: FetchSettings,
    stats: FetchStats,
    until: float,
    check_source: Callable[[bool], None],
) -> None:
    """Store the next `examples_per_fetch` pictures. Raises SourceUnavailable."""
    samples = dataset.samples()
    names = {sample.meta.name for sample in samples}
    known = {(sample.meta.sha256, sample.meta.label) for sample in samples}
    batch = max((sample.batch for sample in samples), default=0) + 1
    files = list(list_files(location, settings))
    made_up = any(PurePosixPath(file.name).name == MADE_UP for file in files)
    check_source(made_up)
    folders = {name: label.value for label in pipeline.labels for name in (label.value, *label.folders)}
    labels = {file.name: label for file in files if (label := _label(file.name, folders))}
    labelled = [file for file in files if file.name in labels]
    if not labelled:
        raise SourceUnavailable(
            f"{shown_url(location)} holds no pictures in folders named {', '.join(folders)}; {_describe(files)}"
        )
    in_this_batch: dict[str, str] = {}
    for file in sorted((file for file in labelled if file.name not in names), key=_shuffled):
        if stats.stored >= pipeline.source.examples_per_fetch:
            return
        if time.monotonic() > until:
            stats.stopped, stats.message = True, STOPPED
            return
        body, label = file.read(), labels[file.name]
        digest = sample_digest(body)
        if (digest, label) in known:
            stats.duplicate += 1
            continue
        if in_this_batch.setdefault(digest, label) != label:
            continue  # the same file under another label: the next fetch stores it, in a batch of its own
        known.add((digest, label))
        report = check_picture(body, settings)
        meta = SampleMeta(
            batch=batch,
            sha256=digest,
            format="picture",
            time=timestamp(),
            source=SampleSource(path=location),
            made_up=made_up,
            name=file.name,
            label=label,
            **vars(report),
        )
        stats.add(batch, dataset.add_sample(body, meta), report)
    if not stats.stored:
        # Only pictures that are stored already: nothing new was collected.
        stats.duplicate = 0
        stats.message = "every picture of the source is stored"


def _shuffled(file: File) -> str:
    """A sort key that mixes the labels, in the same order at each fetch."""
    return hashlib.sha256(file.name.encode()).hexdigest()


def _describe(files: list[File]) -> str:
    """The number of pictures by folder, largest first."""
    pictures = [PurePosixPath(file.name) for file in files if file.name.lower().endswith(SUFFIXES)]
    if not pictures:
        return f"there are {len(files)} files and none is a picture ({', '.join(SUFFIXES)})"
    folders = Counter(path.parent.name or "no folder" for path in pictures).most_common()
    named = ", ".join(f"{count} in {folder}" for folder, count in folders[:MAX_FOLDERS])
    more = f", and more in {len(folders) - MAX_FOLDERS} other folders" if len(folders) > MAX_FOLDERS else ""
    return f"there are {len(pictures)} pictures: {named}{more}"


def _label(name: str, folders: Mapping[str, str]) -> str | None:
    """The label of the nearest folder above a picture; upper and lower case count only if they tell labels apart."""
    path = PurePosixPath(name)
    if path.suffix.lower() not in SUFFIXES:
        return None
    for folder in (parent.name for parent in path.parents):
        alike = {label for other, label in folders.items() if other.casefold() == folder.casefold()}
        if folder in folders or len(alike) == 1:
            return folders.get(folder) or alike.pop()
    return None
