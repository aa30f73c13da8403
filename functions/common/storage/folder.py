"""The object store in a local folder."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from common.errors import Conflict, StoreUnavailable
from common.storage.object_store import LOCK, WRITING, StoredObject, check_key

CHUNK = 1 << 20
ADVICE = "Check the folder, its owner and the space on its disk."


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class FolderStore:
    """A local folder. Writes use a temporary file, fsync and rename; conditional writes use a lock file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = f"file://{root}"
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(self.where, error.strerror or str(error), ADVICE) from error

    def get(self, key: str) -> StoredObject | None:
        with self._store_errors():
            try:
                with self._path(key).open("rb") as file:
                    body = file.read()
                    modified = os.fstat(file.fileno()).st_mtime
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None
        return StoredObject(body, _etag(body), max(0.0, time.time() - modified))

    def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        with self._store_errors(), self._temporary_file(key, io.BytesIO(body)) as (temporary, path):
            try:
                if if_absent:
                    os.link(temporary, path)
                    return _etag(body)
                with self._lock():
                    current = self.get(key) if if_match is not None else None
                    if if_match is not None and (current is None or current.etag != if_match):
                        raise Conflict(f"{key} was changed by another writer")
                    temporary.replace(path)
            except FileExistsError:
                raise Conflict(f"{key} already exists") from None
        return _etag(body)

    def read_into(self, key: str, file: BinaryIO) -> bool:
        with self._store_errors():
            try:
                with self._path(key).open("rb") as body:
                    shutil.copyfileobj(body, file, CHUNK)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return False
        return True

    def write_from(self, key: str, file: BinaryIO) -> str:
        with self._store_errors(), self._temporary_file(key, file) as (temporary, path):
            with temporary.open("rb") as body:
                digest = hashlib.file_digest(body, "sha256").hexdigest()
            temporary.replace(path)
        return digest

    def list(self, prefix: str) -> Iterator[str]:
        folder = prefix.rpartition("/")[0]
        start = self._path(folder) if folder else self.root
        with self._store_errors():
            keys = sorted(
                path.relative_to(self.root).as_posix()
                for path in (start.rglob("*") if start.is_dir() else ())
                if path.is_file() and not path.name.startswith(WRITING)
            )
        return (key for key in keys if key.startswith(prefix) and key != LOCK)

    def delete(self, key: str) -> None:
        with self._store_errors():
            self._path(key).unlink(missing_ok=True)

    @contextmanager
    def _temporary_file(self, key: str, body: BinaryIO) -> Iterator[tuple[Path, Path]]:
        """The body in a temporary file, synced to disk, and the path to move it to."""
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
    def _store_errors(self) -> Iterator[None]:
        if not self.root.is_dir():
            # Creating it again would look as if nothing had ever been collected.
            raise StoreUnavailable(self.where, "the folder no longer exists", ADVICE)
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(self.where, error.strerror or str(error), ADVICE) from error

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.root / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
