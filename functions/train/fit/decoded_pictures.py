"""Decodes each picture once into a memory-mapped file that every epoch reads."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from common.inference.pictures import View, decode_picture
from train.errors import TrainingFailed

DECODER_THREADS = 2
CHUNK = 64


def decoded_mb(count: int, size: int) -> float:
    """Megabytes that `count` decoded pictures of size x size pixels take."""
    return count * size * size * 3 / 1e6


def decode_all(files: Sequence[bytes], view: View, folder: Path | None = None) -> np.ndarray:
    """Picture files -> uint8 (n, size, size, 3), memory-mapped from a file in `folder` if there is one.

    A file that an earlier process decoded from the same pictures is reused. Raises Unusable for a file that is not a
    picture, TrainingFailed if the disk is full.
    """
    shape = (len(files), view.size, view.size, 3)
    if folder is None:
        return _fill(np.empty(shape, np.uint8), files, view)
    decoded = folder / f"{_cache_key(files, view)}.npy"
    if not decoded.exists():
        incomplete = decoded.with_suffix(".part")
        array = _fill(mapped_array(incomplete, shape, np.dtype(np.uint8)), files, view)
        array.flush()
        incomplete.rename(decoded)
    return np.load(decoded, mmap_mode="r", allow_pickle=False)


def mapped_array(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.memmap:
    """A new array in a file. Raises TrainingFailed if the disk has too little space."""
    file.parent.mkdir(parents=True, exist_ok=True)
    needed, free = math.prod(shape) * dtype.itemsize / 1e6, shutil.disk_usage(file.parent).free / 1e6
    if needed > free:
        raise TrainingFailed(
            f"an array of {' x '.join(map(str, shape))} needs {needed:.0f} MB; {file.parent} has {free:.0f} MB. "
            "Give the scratch folder more space, or use a smaller image_size."
        )
    return np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)


def remove_others(folder: Path) -> None:
    """Remove the folders of other trainings next to this one, and incomplete files in it."""
    for other in folder.parent.glob("*"):
        if other.is_dir() and other != folder:
            shutil.rmtree(other, ignore_errors=True)
        elif other != folder:
            other.unlink(missing_ok=True)
    for incomplete in folder.glob("*.part"):
        incomplete.unlink(missing_ok=True)


def _cache_key(files: Sequence[bytes], view: View) -> str:
    digest = hashlib.sha256(repr(view).encode())
    for file in files:
        digest.update(hashlib.sha256(file).digest())
    return digest.hexdigest()[:32]


def _fill(array: Any, files: Sequence[bytes], view: View) -> Any:
    with ThreadPoolExecutor(DECODER_THREADS) as pool:
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            for index, pixels in enumerate(pool.map(lambda file: decode_picture(file, view, None), chunk), start):
                array[index] = pixels
    return array
