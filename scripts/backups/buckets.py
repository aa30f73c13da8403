"""Copies the objects of a store to a folder and back, several at a time."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from backups.command import BackupError, Progress
from backups.manifest import File, describe
from common.storage.object_store import ObjectStore, check_key
from common.storage.s3 import S3Store

# In MLflow's bucket from the first write of a restore to its last comparison, so that an unfinished one is noticed.
MARK = "restore-unfinished.json"
PARALLEL, IN_MEMORY = 8, 8 << 20


class Bucket(S3Store):
    """A store that can create its bucket; its key needs the right to."""

    read_s = 60.0  # a server may take a while to assemble a large object

    def create(self) -> None:
        """Create the bucket if it does not exist. Raises StoreUnavailable."""

        def create() -> None:
            try:
                self._connected().head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                    raise
                self._connected().create_bucket(Bucket=self.bucket)

        self._try(create)


def copy_out(store: ObjectStore, keys: list[str], folder: Path, progress: Progress) -> dict[str, File]:
    """Copy these objects to folder/KEY and return the copies; objects deleted in the meantime are left out.

    Raises StoreUnavailable if the store can't be read, BackupError if a key can't be the name of a file.
    """

    def copy(key: str) -> File | None:
        path = folder / key
        try:
            check_key(key)  # first: a bad key might lead outside the folder
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                found = store.read_into(key, file)
        except ValueError as error:
            raise BackupError(f"{store.where} holds an object that is not from Sabueso: {error}. Delete it.") from None
        except (FileExistsError, NotADirectoryError):
            raise BackupError(f"{path}: the file system can't tell two object names of {store.where} apart.") from None
        except OSError as error:
            raise BackupError(f"{path}: {error.strerror}.") from None
        if not found:
            path.unlink()
            return None
        return describe(path)

    copied = {}
    for key, file in _in_parallel(copy, keys):
        progress.add(file.size if file else 0)
        if file:
            copied[key] = file
    return copied


def copy_in(store: ObjectStore, files: dict[str, Path], progress: Progress) -> None:
    """Write these files into the store under their keys. Raises StoreUnavailable."""

    def copy(key: str) -> int:
        with files[key].open("rb") as file:
            store.write_from(key, file)
            return file.tell()

    for _, size in _in_parallel(copy, list(files)):
        progress.add(size)


def compare(store: ObjectStore, files: dict[str, File], progress: Progress) -> None:
    """Read every object back. Raises BackupError if one differs from its file, is missing, or is not in the backup."""

    def differs(key: str) -> bool:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as body:
            if not store.read_into(key, body):  # type: ignore[arg-type]
                return True
            size = body.tell()
            body.seek(0)
            return File(size, hashlib.file_digest(body, "sha256").hexdigest()) != files[key]  # type: ignore[arg-type]

    wrong = []
    for key, different in _in_parallel(differs, list(files)):
        progress.add(files[key].size)
        if different:
            wrong.append(key)
    wrong += [key for key in store.list("") if key not in files and key != MARK]
    if wrong:
        raise BackupError(
            f"{store.where} differs from the backup: {len(wrong)} objects, the first is {wrong[0]}. "
            "Does another program write to it?"
        )


def _in_parallel(work: Callable[[str], Any], keys: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield each key with the result of `work`; after the first error no further work starts."""
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        for start in range(0, len(keys), 1000):
            chunk = keys[start : start + 1000]
            yield from zip(chunk, pool.map(work, chunk), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)
