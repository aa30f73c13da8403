"""manifest.json: what a backup holds. It is written last, and without it a folder is no backup."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backups.command import CannotGoOn

NAME, FORMAT, OBJECTS = "manifest.json", 1, "objects"
STORES = {"data", "artifacts"}
MOST_TOLD = 10


@dataclass(frozen=True)
class File:
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`stores`: where each store's objects came from, s3://bucket/prefix; `files`: by path inside the folder."""

    made: str
    database: dict[str, Any]
    stores: dict[str, str]
    vanished: int
    files: dict[str, File]

    def objects_of(self, store: str) -> dict[str, str]:
        """key -> path inside the folder, for each object of a store."""
        folder = folder_of(self.stores[store]) + "/"
        return {name.removeprefix(folder): name for name in self.files if name.startswith(folder)}


def folder_of(store: str) -> str:
    """Where the objects of s3://bucket/prefix lie: objects/bucket/prefix."""
    return f"{OBJECTS}/{store.removeprefix('s3://').strip('/')}"


def describe(path: Path) -> File:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return File(file.tell(), digest)


def write(folder: Path, manifest: Manifest) -> None:
    """Make the folder a backup; everything else in it is on the disk before."""
    os.sync()
    part = folder / f"{NAME}.part"
    with part.open("x", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **asdict(manifest)}, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / NAME)


def read(folder: Path) -> Manifest:
    """The manifest of a backup that is whole: every file is there as it was written. Raises CannotGoOn."""
    path = folder / NAME
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CannotGoOn(f"{folder} is no whole backup: it has no {NAME}, which is written last.") from None
    except ValueError:
        raise CannotGoOn(f"{path} can't be read: it is no JSON. Take another backup.") from None
    if not isinstance(raw, dict) or raw.pop("format", None) != FORMAT:
        raise CannotGoOn(f"{path} is not of format {FORMAT}, the one that this version reads.")
    try:
        manifest = Manifest(**{**raw, "files": {name: File(**file) for name, file in raw["files"].items()}})
        folders = tuple(folder_of(store) + "/" for store in manifest.stores.values())
        database = manifest.database["file"]
        if set(manifest.stores) != STORES or not {"kind", "rows"} <= set(manifest.database):
            raise KeyError(NAME)
    except (TypeError, KeyError, AttributeError):
        raise CannotGoOn(
            f"{path} can't be read: its fields are not those of a manifest. Take another backup."
        ) from None
    faults = [f"{database}: not in {NAME}"] if database not in manifest.files else []
    for name, file in manifest.files.items():
        if fault := _fault(folder, name, file, ours=name == database or name.startswith(folders)):
            faults.append(f"{name}: {fault}")
    if faults:
        more = [f"and {len(faults) - MOST_TOLD} more"] if len(faults) > MOST_TOLD else []
        lines = "".join(f"\n  {line}" for line in [*faults[:MOST_TOLD], *more])
        raise CannotGoOn(f"{folder} is no whole backup; take another one:{lines}\n ")
    return manifest


def _fault(folder: Path, name: str, file: File, ours: bool) -> str | None:
    """What is wrong with a file of a backup, or None."""
    # Whoever wrote the manifest may not make us read, and store, any other file of this machine.
    if not ours or any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        return "not a name that a backup has"
    path = folder / name
    if path.resolve() != folder.resolve() / name:
        return "a link, or behind one"
    if not path.is_file():
        return "missing"
    found = describe(path)
    if found != file:
        return (
            f"altered: {found.size} bytes with another sha256"
            if found.size == file.size
            else (f"altered: {found.size} bytes, not {file.size}")
        )
    return None
