"""The objects of a store out to a folder and back, several at a time."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from backups.command import CannotGoOn, Progress
from backups.manifest import File, describe
from common.objects import Objects, check_key
from common.objects_s3 import S3Objects

# In MLflow's bucket from a restore's first write to its last comparison: one that did not end is known by it.
MARK = "restore-unfinished.json"
AT_ONCE, IN_MEMORY = 8, 8 << 20


class Bucket(S3Objects):
    """A store whose bucket may have to be made first, with a key that has the right to."""

    read_s = 60.0  # no gateway ends a copy, and a server may need a while to put a large object together

    def make(self) -> None:
        """Make the bucket if it is not there. Raises StoreUnavailable."""

        def make() -> None:
            try:
                self._connected().head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                    raise
                self._connected().create_bucket(Bucket=self.bucket)

        self._try(make)


def copy_out(store: Objects, keys: list[str], folder: Path, progress: Progress) -> dict[str, File]:
    """Copy these objects to folder/KEY and return what was copied; an object that is gone by now is left out.

    Raises StoreUnavailable if the store can't be read, CannotGoOn if a key can't be the name of a file.
    """

    def copy(key: str) -> File | None:
        path = folder / key
        try:
            check_key(key)  # before anything is made at its place, which might be outside of the folder
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                found = store.read_into(key, file)
        except ValueError as error:
            raise CannotGoOn(f"{store.where} holds an object that is none of ours: {error}. Take it away.") from None
        except (FileExistsError, NotADirectoryError):
            raise CannotGoOn(f"{path}: the file system has one name for two objects of {store.where}.") from None
        except OSError as error:
            raise CannotGoOn(f"{path}: {error.strerror}.") from None
        if not found:
            path.unlink()
            return None
        return describe(path)

    copied = {}
    for key, file in _together(copy, keys):
        progress.add(file.size if file else 0)
        if file:
            copied[key] = file
    return copied


def copy_in(store: Objects, files: dict[str, Path], progress: Progress) -> None:
    """Write these files into the store under their keys. Raises StoreUnavailable."""

    def copy(key: str) -> int:
        with files[key].open("rb") as file:
            store.write_from(key, file)
            return file.tell()

    for _, size in _together(copy, list(files)):
        progress.add(size)


def compare(store: Objects, files: dict[str, File], progress: Progress) -> None:
    """Read every object back. Raises CannotGoOn if one differs from its file, is not there, or is none of them."""

    def differs(key: str) -> bool:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as body:
            if not store.read_into(key, body):  # type: ignore[arg-type]
                return True
            size = body.tell()
            body.seek(0)
            return File(size, hashlib.file_digest(body, "sha256").hexdigest()) != files[key]  # type: ignore[arg-type]

    wrong = []
    for key, different in _together(differs, list(files)):
        progress.add(files[key].size)
        if different:
            wrong.append(key)
    wrong += [key for key in store.list("") if key not in files and key != MARK]
    if wrong:
        raise CannotGoOn(
            f"{store.where} does not hold what the backup does: {len(wrong)} objects differ, the first is {wrong[0]}. "
            "Does something else write to it?"
        )


def _together(work: Callable[[str], Any], keys: list[str]) -> Iterator[tuple[str, Any]]:
    """Each key with what `work` made of it. The first error ends it; what has not begun by then never does."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for at in range(0, len(keys), 1000):
            part = keys[at : at + 1000]
            yield from zip(part, pool.map(work, part), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)
