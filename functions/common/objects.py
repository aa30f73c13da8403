"""The object store: one small interface, kept by a local folder (here) and by S3 (objects_s3)."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from common.errors import Conflict, StoreUnavailable
from common.settings import Settings

LOCK, WRITING = ".lock", ".writing-"
CHUNK = 1 << 20
ADVICE = "Check the folder, its owner and the space on its disk."


@dataclass(frozen=True)
class Object:
    """An object as read: `age_s` is the seconds since its last write, by the store's own clock."""

    body: bytes
    etag: str
    age_s: float


class Objects(Protocol):
    """Every implementation keeps the same promises; keys are relative, with '/' between parts.

    All methods raise StoreUnavailable if the store does not answer or refuses, and ValueError on a bad key.
    """

    where: str

    def get(self, key: str) -> Object | None:
        """The object, or None if there is none."""

    def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write whole or not at all, and return the ETag. Raises Conflict if the condition does not hold."""

    def read_into(self, key: str, file: BinaryIO) -> bool:
        """Stream a body of any size into a seekable file, from where it stands; False if there is no such object."""

    def write_from(self, key: str, file: BinaryIO) -> str:
        """Stream the rest of a file into an object, whole or not at all, over what is there; returns the ETag."""

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that begin with prefix ("" for all), in the order of their UTF-8 bytes."""

    def delete(self, key: str) -> None:
        """Take the object away; no error if there is none. Never used on leases or samples."""


def check_key(key: str) -> str:
    """The key. Raises ValueError if a part of it is empty, '.' or '..', or is a name that a store keeps for itself."""
    parts = key.split("/")
    if key == LOCK or any(part in ("", ".", "..") or part.startswith(WRITING) for part in parts):
        raise ValueError(f"not a key: {key!r}")
    return key


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class FolderObjects:
    """A local folder: writes go through a temporary file, fsync and rename, conditions through one lock file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = f"file://{root}"
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(self.where, error.strerror or str(error), ADVICE) from error

    def get(self, key: str) -> Object | None:
        with self._faults():
            try:
                with self._path(key).open("rb") as file:
                    body = file.read()
                    written = os.fstat(file.fileno()).st_mtime
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None
        return Object(body, _etag(body), max(0.0, time.time() - written))

    def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        with self._faults(), self._written(key, io.BytesIO(body)) as (temporary, path):
            try:
                if if_absent:
                    os.link(temporary, path)
                    return _etag(body)
                with self._lock():
                    now = self.get(key) if if_match is not None else None
                    if if_match is not None and (now is None or now.etag != if_match):
                        raise Conflict(f"{key} was written by another")
                    temporary.replace(path)
            except FileExistsError:
                raise Conflict(f"{key} is there already") from None
        return _etag(body)

    def read_into(self, key: str, file: BinaryIO) -> bool:
        with self._faults():
            try:
                with self._path(key).open("rb") as body:
                    shutil.copyfileobj(body, file, CHUNK)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return False
        return True

    def write_from(self, key: str, file: BinaryIO) -> str:
        with self._faults(), self._written(key, file) as (temporary, path):
            with temporary.open("rb") as body:
                digest = hashlib.file_digest(body, "sha256").hexdigest()
            temporary.replace(path)
        return digest

    def list(self, prefix: str) -> Iterator[str]:
        folder = prefix.rpartition("/")[0]
        start = self._path(folder) if folder else self.root
        with self._faults():
            found = sorted(
                path.relative_to(self.root).as_posix()
                for path in (start.rglob("*") if start.is_dir() else ())
                if path.is_file() and not path.name.startswith(WRITING)
            )
        return (key for key in found if key.startswith(prefix) and key != LOCK)

    def delete(self, key: str) -> None:
        with self._faults():
            self._path(key).unlink(missing_ok=True)

    @contextmanager
    def _written(self, key: str, body: BinaryIO) -> Iterator[tuple[Path, Path]]:
        """The body in a temporary file beside its place, on the disk for sure; and its place."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=WRITING, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(body, file, CHUNK)
                file.flush()
                os.fsync(file.fileno())
            yield Path(temporary), path
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        if not self.root.is_dir():
            # An empty store in its place would look as if nothing had ever been collected.
            raise StoreUnavailable(self.where, "the folder is gone", ADVICE)
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(self.where, error.strerror or str(error), ADVICE) from error

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.root / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def open_objects(settings: Settings, url: str | None = None) -> Objects:
    """The store of the settings, or the one at `url`. Raises WrongSettings if none is set, or if it could not keep

    the promises of conditional writes. A store that does not answer yet is found out when it is used.
    """
    parts = urlsplit(url or settings.require_store())
    if parts.scheme == "file":
        return FolderObjects(Path(parts.path))
    # boto3 takes half a second to import, and a folder store has no use for it.
    from common.objects_s3 import S3Objects

    store = S3Objects(parts.netloc, parts.path.strip("/"), settings)
    if url is None:
        with contextlib.suppress(StoreUnavailable):
            store.prove_conditions()
    return store
