"""A file or folder that is there whole or not at all, and never in the place of another unless that is said."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import Conflict, NotFound
from train.snapshot import PARTS


@contextmanager
def written(path: Path, folder: bool, overwrite: bool) -> Iterator[Path]:
    """A place beside `path` to write to; it becomes `path` at the end, and is taken away if that is not reached.

    Raises Conflict if something is there that may not be replaced, NotFound if there is no folder to write to.
    """
    path = path.absolute()
    if not path.parent.is_dir():
        raise NotFound(f"no folder {path.parent}")
    if os.path.lexists(path):
        if not overwrite:
            raise Conflict(f"{path} is there already; --overwrite takes its place")
        _check_replaceable(path, folder)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if folder:
            beside.mkdir()
        yield beside
        _put(beside, path, folder, overwrite)
    finally:
        shutil.rmtree(beside) if beside.is_dir() else beside.unlink(missing_ok=True)


def _check_replaceable(path: Path, folder: bool) -> None:
    """What is replaced is an export: never a folder of somebody's own things."""
    if path.is_dir() != folder or path.is_symlink():
        raise Conflict(f"{path} is no {'folder' if folder else 'file'}, and is left as it is; take another --out")
    others = sorted(one.name for one in path.iterdir() if one.name not in PARTS) if folder else []
    if others:
        raise Conflict(f"{path} holds {others[0]}, which no export makes, and is left as it is; take another --out")


def _put(beside: Path, path: Path, folder: bool, overwrite: bool) -> None:
    """What came to be there since the first look is left too."""
    if not folder and overwrite:
        beside.replace(path)
    elif not folder:
        try:
            os.link(beside, path)
        except FileExistsError:
            raise Conflict(_appeared(path)) from None
    else:
        old = beside.with_name(f"{beside.name}.old")
        if os.path.lexists(path):
            if not overwrite:
                raise Conflict(_appeared(path))
            _check_replaceable(path, folder)
            path.rename(old)
        beside.rename(path)
        shutil.rmtree(old, ignore_errors=True)


def _appeared(path: Path) -> str:
    return f"{path} appeared meanwhile, and is left as it is"
