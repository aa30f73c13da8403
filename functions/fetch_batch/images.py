"""The source `images`: class-named folders; each fetch takes the next pictures that are not stored yet."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from common.datasets import Dataset
from common.errors import SourceUnavailable
from common.executions import timestamp
from common.pipelines import Pipeline
from common.settings import Settings
from fetch_batch.files import File, list_files
from fetch_batch.tally import STOPPED, Tally
from fetch_batch.validate import check_picture

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
MADE_UP = "MADE-UP.txt"
MOST_FOLDERS = 8  # that a message names


def _order(file: File) -> str:
    """Shuffled, but the same at each fetch: pictures of all labels come mixed."""
    return hashlib.sha256(file.name.encode()).hexdigest()


def collect_images(
    pipeline: Pipeline,
    dataset: Dataset,
    location: str,
    settings: Settings,
    tally: Tally,
    until: float,
    on_source: Callable[[bool], None],
) -> None:
    """Store the next `examples_per_fetch` pictures. Raises SourceUnavailable."""
    samples = dataset.samples()
    names = {sample.meta["name"] for sample in samples}
    known = {(sample.meta["sha256"], sample.meta["label"]) for sample in samples}
    batch = max((sample.batch for sample in samples), default=0) + 1
    files = list(list_files(location, settings))
    made_up = any(PurePosixPath(file.name).name == MADE_UP for file in files)
    on_source(made_up)
    folders = {name: one.value for one in pipeline.labels for name in (one.value, *one.folders)}
    labels_of = {file.name: label for file in files if (label := _label(file.name, folders))}
    labelled = [file for file in files if file.name in labels_of]
    if not labelled:
        labels = ", ".join(folders)
        raise SourceUnavailable(f"{location} holds no pictures in folders named {labels}; {_what_is_there(files)}")
    new = [file for file in labelled if file.name not in names]
    here: dict[str, str] = {}
    for file in sorted(new, key=_order):
        if tally.stored >= pipeline.source.examples_per_fetch:
            return
        if time.monotonic() > until:
            tally.stopped, tally.message = True, STOPPED
            return
        body, label = file.read(), labels_of[file.name]
        digest = hashlib.sha256(body).hexdigest()
        if (digest, label) in known:
            tally.duplicate += 1
            continue
        if here.setdefault(digest, label) != label:
            continue  # the same file under another label: the next fetch stores it, in a batch of its own
        known.add((digest, label))
        report = check_picture(body)
        meta = {"format": "picture", "time": timestamp(), "intent": None, "name": file.name, "label": label}
        more = {"source": {"path": location}, "made_up": made_up, "generation": 1}
        tally.add(batch, dataset.add_sample(batch, body, {**meta, **more, **report.as_dict()}), report)
    if not tally.stored:
        # Only pictures that are stored already: nothing new was collected.
        tally.duplicate = 0
        tally.message = "every picture of the source is stored"


def _what_is_there(files: list[File]) -> str:
    """The pictures by folder, most first, for a source in which no folder is a label."""
    pictures = [PurePosixPath(file.name) for file in files if file.name.lower().endswith(SUFFIXES)]
    if not pictures:
        return f"there are {len(files)} files and none is a picture ({', '.join(SUFFIXES)})"
    folders = Counter(path.parent.name or "no folder" for path in pictures).most_common()
    named = ", ".join(f"{count} in {folder}" for folder, count in folders[:MOST_FOLDERS])
    more = f", and more in {len(folders) - MOST_FOLDERS} other folders" if len(folders) > MOST_FOLDERS else ""
    return f"there are {len(pictures)} pictures: {named}{more}"


def _label(name: str, folders: Mapping[str, str]) -> str | None:
    """The label of the nearest folder above a picture that is one of theirs; in any case, where that is enough."""
    path = PurePosixPath(name)
    if path.suffix.lower() not in SUFFIXES:
        return None
    for folder in (one.name for one in path.parents):
        alike = {label for other, label in folders.items() if other.casefold() == folder.casefold()}
        if folder in folders or len(alike) == 1:
            return folders.get(folder) or alike.pop()
    return None
