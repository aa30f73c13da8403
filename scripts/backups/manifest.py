"""manifest.json: what a backup holds. It is written last; a folder without it is not a backup."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backups.command import BackupError

NAME, FORMAT, OBJECTS = "manifest.json", 1, "objects"
STORES = {"data", "artifacts"}
MAX_FAULTS = 10  # listed in an error


@dataclass(frozen=True)
class File:
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`stores`: the origin of each store's objects, s3://bucket/prefix. `files`: by path inside the folder."""

    made: str
    database: dict[str, Any]
    stores: dict[str, str]
    vanished: int
    files: dict[str, File]

    def objects_of(self, store: str) -> dict[str, str]:
        """Key -> path inside the folder, for each object of a store."""
        folder = folder_of(self.stores[store]) + "/"
        return {name.removeprefix(folder): name for name in self.files if name.startswith(folder)}


def folder_of(store: str) -> str:
    """The folder of the objects of s3://bucket/prefix: objects/bucket/prefix."""
    return f"{OBJECTS}/{store.removeprefix('s3://').strip('/')}"


def describe(path: Path) -> File:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return File(file.tell(), digest)


def write(folder: Path, manifest: Manifest) -> None:
    """Complete the backup, once everything else in the folder is on the disk."""
    os.sync()
    part = folder / f"{NAME}.part"
    with part.open("x", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **asdict(manifest)}, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / NAME)


def read(folder: Path) -> Manifest:
    """The manifest of a backup, after checking every file. Raises BackupError if one is damaged or missing."""
    path = folder / NAME
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackupError(f"{folder} is not a complete backup: it has no {NAME}, which is written last.") from None
    except ValueError:
        raise BackupError(f"{path} is not JSON. Use another backup.") from None
    if not isinstance(raw, dict) or raw.pop("format", None) != FORMAT:
        raise BackupError(f"{path} does not have format {FORMAT}, which this version reads.")
    try:
        manifest = Manifest(**{**raw, "files": {name: File(**file) for name, file in raw["files"].items()}})
        folders = tuple(folder_of(store) + "/" for store in manifest.stores.values())
        database = manifest.database["file"]
        if set(manifest.stores) != STORES or not {"kind", "rows"} <= set(manifest.database):
            raise KeyError(NAME)
    except (TypeError, KeyError, AttributeError):
        raise BackupError(f"{path} is not a manifest: wrong or missing fields. Use another backup.") from None
    faults = [f"{database}: not in {NAME}"] if database not in manifest.files else []
    for name, file in manifest.files.items():
        if fault := _fault(folder, name, file, ours=name == database or name.startswith(folders)):
            faults.append(f"{name}: {fault}")
    if faults:
        more = [f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        lines = "".join(f"\n  {line}" for line in [*faults[:MAX_FAULTS], *more])
        raise BackupError(f"{folder} is damaged or incomplete; use another backup:{lines}\n ")
    return manifest


def _fault(folder: Path, name: str, file: File, ours: bool) -> str | None:
    """What is wrong with a file of a backup, or None."""
    # A forged manifest must not make us read, and store, other files of this machine.
    if not ours or any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        return "not a file of a backup"
    path = folder / name
    if path.resolve() != folder.resolve() / name:
        return "a link, or reached through a link"
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
