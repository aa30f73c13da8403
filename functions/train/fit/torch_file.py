"""Reads the arrays of a PyTorch file in the format before 1.6, without PyTorch.

The file starts with five pickles: magic number, protocol version, machine, tensors, storage keys. The storages follow
in the order of their keys; each begins with its number of elements as an int64.
"""

from __future__ import annotations

import math
import os
import pickle  # only with _Unpickler, which allows four names
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from train.errors import TrainingFailed

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


def _make_tensor(storage: Any, offset: int, shape: Any, strides: Any, *unused: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _make_tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Unpickler(pickle.Unpickler):
    """Allows only the names that a file of tensors needs: a pickle can call anything that it may name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed") from None

    def persistent_load(self, identity: Any) -> _Storage:
        tag, dtype, key, *_ = identity
        if tag != "storage" or dtype not in ("<f4", "<i8"):
            raise pickle.UnpicklingError("it refers to an object that is not a tensor storage")
        return _Storage(str(key), dtype)


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, as arrays of float32 or int64.

    Raises TrainingFailed if the file has another format, is truncated, or names anything but tensors.
    """
    try:
        with path.open("rb") as file:
            magic, protocol, _, tensors, keys = [_Unpickler(file).load() for _ in range(5)]
            if (magic, protocol) != (MAGIC, PROTOCOL):
                raise ValueError("it does not start like a PyTorch file")
            types = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
            storages = {key: _read_storage(file, types[key]) for key in keys}
        return {name: _read_tensor(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}
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
        raise ValueError("it is truncated")
    return np.frombuffer(file.read(size), dtype)


def _read_tensor(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    """A copy of the tensor. Raises ValueError if it extends beyond its storage."""
    if math.prod(tensor.shape) > storage.size:
        raise ValueError("a tensor has more elements than its storage")
    # np.ndarray checks that shape and strides stay inside the buffer; as_strided does not.
    item_size = storage.itemsize
    strides = tuple(stride * item_size for stride in tensor.strides)
    return np.ndarray(tensor.shape, storage.dtype, storage.data, tensor.offset * item_size, strides).copy()
