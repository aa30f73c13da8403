"""An output file or folder that appears complete or not at all, and replaces only an earlier export."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import Conflict, NotFound
from train.snapshot import Split

PARTS = [split.label for split in Split]


@contextmanager
def atomic_target(path: Path, is_folder: bool, overwrite: bool) -> Iterator[Path]:
    """A temporary path beside `path` to write to. It is renamed to `path` at the end, or deleted after an error.

    Raises Conflict if `path` exists and may not be replaced, NotFound if its folder does not exist.
    """
    path = path.absolute()
    if not path.parent.is_dir():
        raise NotFound(f"no folder {path.parent}")
    if os.path.lexists(path):
        if not overwrite:
            raise Conflict(f"{path} already exists; --overwrite replaces it")
        _check_replaceable(path, is_folder)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if is_folder:
            temporary.mkdir()
        yield temporary
        _publish(temporary, path, is_folder, overwrite)
    finally:
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)


def _check_replaceable(path: Path, is_folder: bool) -> None:
    """Raises Conflict unless `path` looks like an export, so that no folder of the user is deleted."""
    if path.is_dir() != is_folder or path.is_symlink():
        raise Conflict(f"{path} is not a {'folder' if is_folder else 'file'} and was not changed; choose another --out")
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in PARTS) if is_folder else []
    if others:
        raise Conflict(f"{path} holds {others[0]}, so it is not an export and was not changed; choose another --out")


def _publish(temporary: Path, path: Path, is_folder: bool, overwrite: bool) -> None:
    """Check again: something may have appeared at `path` since the export began."""
    if not is_folder and overwrite:
        temporary.replace(path)
    elif not is_folder:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise Conflict(_appeared(path)) from None
    else:
        old = temporary.with_name(f"{temporary.name}.old")
        if os.path.lexists(path):
            if not overwrite:
                raise Conflict(_appeared(path))
            _check_replaceable(path, is_folder)
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)


def _appeared(path: Path) -> str:
    return f"{path} appeared during the export and was not changed"
