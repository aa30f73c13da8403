"""A collected picture, to show that classify answers."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from common.storage.dataset import Dataset
from common.storage.folder import FolderStore


def collected_picture(store: Path, pipeline: str) -> tuple[bytes, str, str] | None:
    """The first stored picture of a pipeline: its bytes, name and media type; None if there is none."""
    dataset = Dataset(FolderStore(store), pipeline)
    for sample, body in dataset.bodies(dataset.samples()[:1]):
        name = sample.meta.name or sample.key
        return body, name, mimetypes.guess_type(name)[0] or "application/octet-stream"
    return None
