"""Decoded pictures: each is decoded once, into a file mapped into memory, from which every epoch reads."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from common.errors import TrainingFailed
from common.pictures import decode_picture

DECODERS = 2
CHUNK = 64


def decoded_mb(count: int, size: int) -> float:
    """Megabytes of so many decoded pictures of that side."""
    return count * size * size * 3 / 1e6


def decode_all(files: Sequence[bytes], size: int, folder: Path | None = None, centre: float = 1.0) -> np.ndarray:
    """Picture files -> uint8 (n, size, size, 3), decoded side by side; with a folder in a file there, of `decoded_mb`.

    The same files find what an earlier process decoded. Raises Unusable for what is no picture, TrainingFailed if the
    folder's disk has no room.
    """
    shape = (len(files), size, size, 3)
    if folder is None:
        return _filled(np.empty(shape, np.uint8), files, size, centre)
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / f"{_name(files, size, centre)}.npy"
    if not whole.exists():
        wanted, free = decoded_mb(len(files), size), shutil.disk_usage(folder).free / 1e6
        if wanted > free:
            raise TrainingFailed(
                f"{len(files)} pictures of {size} x {size} need {wanted:.0f} MB decoded; {folder} has {free:.0f} MB. "
                "Give the scratch folder more room, or the pipeline a smaller image_size."
            )
        part = whole.with_suffix(".part")
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        _filled(array, files, size, centre)
        array.flush()
        part.rename(whole)
    return np.load(whole, mmap_mode="r", allow_pickle=False)


def clear_others(folder: Path) -> None:
    """Take away what other trainings left beside this folder, and in it what none of its own brought to its end."""
    for other in folder.parent.glob("*"):
        if other.is_dir() and other != folder:
            shutil.rmtree(other, ignore_errors=True)
        elif other != folder:
            other.unlink(missing_ok=True)
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)


def _name(files: Sequence[bytes], size: int, centre: float) -> str:
    digest = hashlib.sha256(f"{size} {centre}".encode())
    for file in files:
        digest.update(hashlib.sha256(file).digest())
    return digest.hexdigest()[:32]


def _filled(array: np.ndarray, files: Sequence[bytes], size: int, centre: float) -> np.ndarray:
    with ThreadPoolExecutor(DECODERS) as pool:
        for start in range(0, len(files), CHUNK):
            part = files[start : start + CHUNK]
            for place, one in enumerate(pool.map(lambda file: decode_picture(file, size, centre), part), start):
                array[place] = one
    return array
