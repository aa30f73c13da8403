"""Decoded pictures: each is decoded once, into a file mapped into memory, from which every epoch reads."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import TrainingFailed
from common.pictures import View, decode_picture

DECODERS = 2
CHUNK = 64


def decoded_mb(count: int, size: int) -> float:
    """Megabytes of so many decoded pictures of that side."""
    return count * size * size * 3 / 1e6


def decode_all(files: Sequence[bytes], view: View, folder: Path | None = None) -> np.ndarray:
    """Picture files -> uint8 (n, size, size, 3), decoded side by side; with a folder in a file there, of `decoded_mb`.

    The same files find what an earlier process decoded. Raises Unusable for what is no picture, TrainingFailed if the
    folder's disk has no room.
    """
    shape = (len(files), view.size, view.size, 3)
    if folder is None:
        return _filled(np.empty(shape, np.uint8), files, view)
    whole = folder / f"{_name(files, view)}.npy"
    if not whole.exists():
        part = whole.with_suffix(".part")
        array = _filled(mapped_array(part, shape, np.dtype(np.uint8)), files, view)
        array.flush()
        part.rename(whole)
    return np.load(whole, mmap_mode="r", allow_pickle=False)


def mapped_array(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.memmap:
    """A new array in a file. Raises TrainingFailed if its disk has no room for it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    wanted, free = math.prod(shape) * dtype.itemsize / 1e6, shutil.disk_usage(file.parent).free / 1e6
    if wanted > free:
        raise TrainingFailed(
            f"an array of {' x '.join(map(str, shape))} needs {wanted:.0f} MB; {file.parent} has {free:.0f} MB. "
            "Give the scratch folder more room; decoded pictures take less of it with a smaller image_size."
        )
    return np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)


def clear_others(folder: Path) -> None:
    """Take away what other trainings left beside this folder, and in it what none of its own brought to its end."""
    for other in folder.parent.glob("*"):
        if other.is_dir() and other != folder:
            shutil.rmtree(other, ignore_errors=True)
        elif other != folder:
            other.unlink(missing_ok=True)
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)


def _name(files: Sequence[bytes], view: View) -> str:
    digest = hashlib.sha256(repr(view).encode())
    for file in files:
        digest.update(hashlib.sha256(file).digest())
    return digest.hexdigest()[:32]


def _filled(array: Any, files: Sequence[bytes], view: View) -> Any:
    with ThreadPoolExecutor(DECODERS) as pool:
        for start in range(0, len(files), CHUNK):
            part = files[start : start + CHUNK]
            for place, one in enumerate(pool.map(lambda file: decode_picture(file, view), part), start):
                array[place] = one
    return array
