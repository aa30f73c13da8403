"""One picture that was collected, to show that classify answers."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from common.datasets import Dataset
from common.objects import FolderObjects


def collected_picture(store: Path, pipeline: str) -> tuple[bytes, str, str] | None:
    """The first picture that is stored of a pipeline: its bytes, its name and its media type. None if there is none."""
    dataset = Dataset(FolderObjects(store), pipeline)
    for sample, body in dataset.bodies(dataset.samples()[:1]):
        name = str(sample.meta["name"])
        return body, name, mimetypes.guess_type(name)[0] or "application/octet-stream"
    return None
