"""Reads the arrays of a PyTorch file in its older form (before 1.6), without PyTorch.

The file is five pickles (a magic number, the protocol's version, the machine, the tensors, the storages' keys) and then
the storages in the order of their keys, each behind the number of its elements as an int64.
"""

from __future__ import annotations

import math
import os
import pickle  # unpickled by a reader that knows four names
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from common.errors import TrainingFailed

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str


@dataclass(frozen=True)
class _Tensor:
    """A view into a storage; sizes, strides and offset count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(storage: Any, offset: int, shape: Any, strides: Any, *unused: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Unpickler(pickle.Unpickler):
    """Knows the names that a file of tensors needs, and no other: a pickle can call whatever it may name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no file of tensors needs") from None

    def persistent_load(self, identity: Any) -> _Storage:
        kind, dtype, key, *_ = identity
        if kind != "storage" or dtype not in ("<f4", "<i8"):
            raise pickle.UnpicklingError("it refers to what is no storage")
        return _Storage(str(key), dtype)


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, as arrays of float32 or int64.

    Raises TrainingFailed if the file has another form, is cut short, or names anything but tensors.
    """
    try:
        with path.open("rb") as file:
            magic, protocol, _, tensors, keys = [_Unpickler(file).load() for _ in range(5)]
            if (magic, protocol) != (MAGIC, PROTOCOL):
                raise ValueError("it does not begin as a PyTorch file does")
            types = {one.storage.key: one.storage.dtype for one in tensors.values()}
            storages = {key: _read_storage(file, types[key]) for key in keys}
        return {name: _view(one, storages[one.storage.key]) for name, one in tensors.items()}
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError, OverflowError, MemoryError),
        *(RecursionError, struct.error),
    ) as error:
        raise TrainingFailed(f"the weights {path.name} can't be read: {error}") from None
    except pickle.UnpicklingError as error:
        raise TrainingFailed(f"the weights {path.name} are refused: {error}") from None


def _read_storage(file: BinaryIO, dtype: str) -> np.ndarray:
    (count,) = struct.unpack("<q", file.read(8))
    size = count * np.dtype(dtype).itemsize
    if not 0 <= size <= os.fstat(file.fileno()).st_size - file.tell():
        raise ValueError("it is cut short")
    return np.frombuffer(file.read(size), dtype)


def _view(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    """A copy of the tensor. Raises ValueError if it reaches beyond its storage."""
    if math.prod(tensor.shape) > storage.size:
        raise ValueError("a tensor has more elements than its storage")
    # numpy checks that shape and strides stay inside the buffer, which as_strided does not.
    size = storage.itemsize
    strides = tuple(one * size for one in tensor.strides)
    return np.ndarray(tensor.shape, storage.dtype, storage.data, tensor.offset * size, strides).copy()
