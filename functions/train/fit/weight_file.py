"""Downloads a backbone's weights file into the scratch folder and verifies its sha256."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import psutil
import requests

from common.errors import Unavailable
from common.pipelines import Weights
from common.redaction import shown_url
from common.storage.open_store import open_store
from train.errors import TrainingFailed
from train.settings import TrainSettings

MAX_BYTES = 2_000_000_000
CHUNK = 1 << 20
DOWNLOAD_TIMEOUT_S = 10.0
RETRYABLE = (408, 429)


def fetch_weights(weights: Weights, settings: TrainSettings) -> Path:
    """The file in the scratch folder, stored under its sha256, so that it is downloaded only once.

    Raises Unavailable if the server does not answer now, TrainingFailed if the file is missing or has another sha256.
    """
    folder = settings.scratch / "weights"
    target = folder / weights.sha256
    if target.is_file() and _sha256(target) == weights.sha256:
        return target
    partial = folder / f".{weights.sha256}.{os.getpid()}"
    location = shown_url(weights.path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("w+b") as file:
            _read(weights.path, location, file, settings)
        digest = _sha256(partial)
        if digest != weights.sha256:
            raise TrainingFailed(
                f"the weights {location} have the sha256 {digest}, but the pipeline file says {weights.sha256}. "
                "If this is the file you want, correct the sha256 there"
            )
        partial.replace(target)
    except OSError as error:
        raise TrainingFailed(f"can't write the weights {location} to {folder}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return target


def remove_partial_downloads(settings: TrainSettings) -> None:
    """Remove the partial downloads of dead processes; trainings of other pipelines may be downloading now."""
    for partial in (settings.scratch / "weights").glob(".*.*"):
        owner = partial.suffix[1:]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            partial.unlink(missing_ok=True)


def _read(path: str, location: str, file: BinaryIO, settings: TrainSettings) -> None:
    if path.startswith(("http://", "https://")):
        return _download(path, location, file)
    if path.startswith("s3://"):
        folder, _, key = path.rpartition("/")
        try:
            exists = folder != "s3:/" and open_store(settings, folder).read_into(key, file)
        except ValueError:  # the path has no key
            exists = False
        if not exists:
            raise TrainingFailed(f"there are no weights at {location}")
        return None
    try:
        with Path(path).open("rb") as source:
            while chunk := source.read(CHUNK):
                file.write(chunk)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise TrainingFailed(f"can't read the weights at {location}: {error.strerror}") from None
    return None


def _download(url: str, location: str, file: BinaryIO) -> None:
    try:
        with requests.get(url, timeout=DOWNLOAD_TIMEOUT_S, stream=True) as response:
            status = response.status_code
            if status >= 500 or status in RETRYABLE:
                raise Unavailable(f"can't download the weights now: {location} answered {status}")
            if status != 200:
                raise TrainingFailed(f"can't download the weights: {location} answered {status}")
            size = 0
            for chunk in response.iter_content(CHUNK):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise TrainingFailed(f"the weights {location} are larger than {MAX_BYTES} bytes")
                file.write(chunk)
    except requests.RequestException as error:
        raise Unavailable(f"can't download the weights now from {location}: {type(error).__name__}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
