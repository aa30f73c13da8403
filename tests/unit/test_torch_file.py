"""PyTorch files are read without PyTorch, by a reader that executes nothing from the file."""

import io
import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from train.errors import TrainingFailed
from train.fit.torch_file import MAGIC, PROTOCOL, read_torch_file

FLOATS, LONGS = "FloatStorage", "LongStorage"


class Named:
    """Pickled as a bare global."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Called:
    """Pickled as a call of a global."""

    def __init__(self, module, name, *arguments):
        self.function, self.arguments = Named(module, name), arguments


class Storage:
    def __init__(self, kind, key, count):
        self.identity = ("storage", Named("torch", kind), key, "cpu", count, None)


class Pickler(pickle._Pickler):
    """Writes globals by name alone: torch is not installed."""

    dispatch = pickle._Pickler.dispatch.copy()

    def persistent_id(self, value):
        return value.identity if isinstance(value, Storage) else None

    def save_named(self, value):
        self.write(f"c{value.module}\n{value.name}\n".encode())

    def save_called(self, value):
        self.save_named(value.function)
        self.save(value.arguments)
        self.write(pickle.REDUCE)

    dispatch[Named], dispatch[Called] = save_named, save_called


def tensor(storage, offset, shape, strides):
    return Called("torch._utils", "_rebuild_tensor_v2", storage, offset, shape, strides, False, OrderedDict())


def pickled(value):
    file = io.BytesIO()
    Pickler(file, 2).dump(value)
    return file.getvalue()


def write_torch_file(folder, tensors, storages, magic=MAGIC, protocol=PROTOCOL):
    """A file as PyTorch before 1.6 writes it. `storages`: arrays by key."""
    heads = [pickled(value) for value in (magic, protocol, {"little_endian": True}, tensors, list(storages))]
    bodies = [struct.pack("<q", array.size) + array.tobytes() for array in storages.values()]
    path = folder / "weights.pth"
    path.write_bytes(b"".join([*heads, *bodies]))
    return path


NUMBERS = np.arange(12, dtype=np.float32)
COUNTS = np.array([7], dtype=np.int64)
STORAGES = {"one": NUMBERS, "two": COUNTS}


def state_dict(shape=(3, 4), strides=(1, 3), offset=0):
    tensors = {
        "transposed": tensor(Storage(FLOATS, "one", 12), offset, shape, strides),
        "count": tensor(Storage(LONGS, "two", 1), 0, (), ()),
    }
    return OrderedDict(tensors)


def test_tensors_are_read_with_their_strides(tmp_path):
    arrays = read_torch_file(write_torch_file(tmp_path, state_dict(), STORAGES))
    assert arrays["transposed"].tolist() == NUMBERS.reshape(4, 3).T.tolist()
    assert (arrays["count"].item(), arrays["count"].dtype) == (7, np.int64)
    view = read_torch_file(write_torch_file(tmp_path, state_dict((2, 2), (4, 1), 5), STORAGES))["transposed"]
    assert view.tolist() == [[5, 6], [9, 10]]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("torch", "HalfStorage"),
        ("torch._utils", "_rebuild_parameter"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("common.storage.folder", "FolderStore"),
    ],
)
def test_a_file_that_names_anything_but_tensors_is_refused(tmp_path, module, name):
    path = write_torch_file(tmp_path, OrderedDict(one=Called(module, name, "touch ran")), STORAGES)
    with pytest.raises(TrainingFailed, match=rf"refused: it names {module}\.{name}"):
        read_torch_file(path)


def test_a_refused_file_executes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_torch_file(tmp_path, state_dict(), STORAGES)
    path.write_bytes(b"cposix\nsystem\n(S'touch ran'\ntR." + path.read_bytes())
    with pytest.raises(TrainingFailed, match="refused"):
        read_torch_file(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((3, 5), (4, 1), 0),
        ((3, 4), (4, 1), 1),
        ((2,), (-1,), 0),
        ((2,), (1,), -1),
        ((50, 50), (0, 0), 0),
        ((1 << 40,), (1,), 0),
        ((2,), (1 << 62,), 0),
    ],
)
def test_a_tensor_that_extends_beyond_its_storage_is_refused(tmp_path, shape, strides, offset):
    with pytest.raises(TrainingFailed, match=r"weights\.pth can't be read"):
        read_torch_file(write_torch_file(tmp_path, state_dict(shape, strides, offset), STORAGES))


@pytest.mark.parametrize("count", [1 << 60, -1, 13])
def test_a_storage_with_a_false_size_is_refused_without_allocating_it(tmp_path, count):
    path = write_torch_file(tmp_path, state_dict(), STORAGES)
    body = path.read_bytes()
    offset = body.index(struct.pack("<q", 12) + NUMBERS.tobytes())
    path.write_bytes(body[:offset] + struct.pack("<q", count) + body[offset + 8 :])
    with pytest.raises(TrainingFailed, match="can't be read"):
        read_torch_file(path)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = write_torch_file(tmp_path, state_dict(), STORAGES)
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(TrainingFailed, match=r"weights\.pth"):
        read_torch_file(path)


def test_a_file_that_is_not_from_pytorch_is_refused(tmp_path):
    with pytest.raises(TrainingFailed, match="does not start like a PyTorch file"):
        read_torch_file(write_torch_file(tmp_path, state_dict(), STORAGES, magic=1))
    path = tmp_path / "weights.pth"
    path.write_text("these are no weights")
    with pytest.raises(TrainingFailed):
        read_torch_file(path)
