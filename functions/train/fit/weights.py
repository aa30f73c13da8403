"""The file that a backbone's weights come from, brought into the scratch folder and checked before it is used."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import psutil
import requests

from common.errors import TrainingFailed, Unavailable
from common.objects import open_objects
from common.pipelines import Weights
from common.settings import Settings

MAX_BYTES = 2_000_000_000
CHUNK = 1 << 20
PASSING = (408, 429)


def fetch_weights(weights: Weights, settings: Settings) -> Path:
    """The file in the scratch folder, kept there under its sha256, so that it is fetched once.

    Raises Unavailable if its place does not answer now, TrainingFailed if it has another sum, or if there is none.
    """
    folder = settings.scratch / "weights"
    kept = folder / weights.sha256
    if kept.is_file() and _sum(kept) == weights.sha256:
        return kept
    part = folder / f".{weights.sha256}.{os.getpid()}"
    shown = _shown(weights.path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("w+b") as file:
            _read(weights.path, shown, file, settings)
        found = _sum(part)
        if found != weights.sha256:
            raise TrainingFailed(
                f"the weights {shown} have the sha256 {found}, and the pipeline file says {weights.sha256}. "
                "If this file is the one that is wanted, correct the sum there"
            )
        part.replace(kept)
    except OSError as error:
        raise TrainingFailed(f"the weights {shown} can't be kept in {folder}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return kept


def clear_parts(settings: Settings) -> None:
    """Take away what processes that were killed had fetched; other pipelines' trainings may be fetching now."""
    for part in (settings.scratch / "weights").glob(".*.*"):
        owner = part.suffix[1:]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            part.unlink(missing_ok=True)


def _read(path: str, shown: str, file: BinaryIO, settings: Settings) -> None:
    if path.startswith(("http://", "https://")):
        return _download(path, shown, file, settings.source_timeout_s)
    if path.startswith("s3://"):
        folder, _, key = path.rpartition("/")
        try:
            found = folder != "s3:/" and open_objects(settings, folder).read_into(key, file)
        except ValueError:  # no key at all
            found = False
        if not found:
            raise TrainingFailed(f"there are no weights {shown}")
        return None
    try:
        with Path(path).open("rb") as source:
            while part := source.read(CHUNK):
                file.write(part)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise TrainingFailed(f"there are no weights to be read at {shown}: {error.strerror}") from None
    return None


def _download(url: str, shown: str, file: BinaryIO, timeout_s: float) -> None:
    try:
        with requests.get(url, timeout=timeout_s, stream=True) as answer:
            status = answer.status_code
            if status >= 500 or status in PASSING:
                raise Unavailable(f"the weights can't be fetched now: {shown} answered {status}")
            if status != 200:
                raise TrainingFailed(f"the weights can't be fetched: {shown} answered {status}")
            size = 0
            for part in answer.iter_content(CHUNK):
                size += len(part)
                if size > MAX_BYTES:
                    raise TrainingFailed(f"the weights {shown} are larger than {MAX_BYTES} bytes")
                file.write(part)
    except requests.RequestException as error:
        raise Unavailable(f"the weights can't be fetched now from {shown}: {type(error).__name__}") from None


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shown(path: str) -> str:
    """The path without what may be secret in a URL: a signature after '?', a name before '@'."""
    if "://" not in path:
        return path
    parts = urlsplit(path)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
