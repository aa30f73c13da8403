"""Copies a deployment's database and both buckets into FOLDER while the system runs. Needs the servers of
infra/compose.yaml, infra/.env, and the database's client programs on PATH."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from backups import manifest
from backups.buckets import MARK, copy_out
from backups.command import BackupError, Progress, log, megabytes, run
from backups.deployment import Deployment, add_arguments, read_deployment
from backups.manifest import File, Manifest, describe, folder_of
from common.errors import FieldError, WrongSettings
from common.storage import keys
from common.timestamps import timestamp

INTENT = re.compile(keys.intents("[^/]+"))  # of any pipeline


class Backup:
    """A backup that is being made."""

    def __init__(self, folder: Path, deployment: Deployment) -> None:
        self.folder, self.deployment = folder, deployment
        self.files: dict[str, File] = {}
        self.vanished = 0  # objects deleted before they were copied

    def copy_objects(self, store: str, wanted: list[str]) -> None:
        objects = self.deployment.stores[store]
        place = folder_of(objects.where)
        copied = copy_out(objects, wanted, self.folder / place, Progress(objects.where, len(wanted)))
        self.files |= {f"{place}/{key}": file for key, file in copied.items()}
        self.vanished += len(wanted) - len(copied)

    def dump_database(self) -> dict[str, object]:
        database = self.deployment.database
        log(f"database {database.address} ...")
        versions = database.versions()
        rows = database.dump(self.folder / database.file)
        self.files[database.file] = describe(self.folder / database.file)
        log(f"database: {sum(rows.values())} rows of {len(rows)} tables")
        return {"kind": database.kind, "file": database.file, **versions, "rows": rows}

    def make(self) -> Manifest:
        made, stores = timestamp(), self.deployment.stores
        if stores["artifacts"].get(MARK):
            raise BackupError(
                f"An earlier restore into this system did not finish ({MARK} in {stores['artifacts'].where})."
            )
        # The order keeps the copies consistent while the system runs:
        # 1. Execution records: a finished training has its version in the dump; a running one resumes after a restore.
        # 2. The database: the artifacts and snapshots that it names are stored before it and never deleted.
        # 3. Intents, before the samples are listed: the sample of an intent that says "stored" is in the copy.
        # Objects that nothing refers to do no harm.
        data = stores["data"]
        self.copy_objects("data", list(data.list(keys.JOBS)))
        database = self.dump_database()
        self.copy_objects("data", [key for key in data.list(keys.DATASETS) if INTENT.match(key)])
        self.copy_objects(
            "data", [key for key in data.list("") if not key.startswith(keys.JOBS) and not INTENT.match(key)]
        )
        self.copy_objects("artifacts", list(stores["artifacts"].list("")))
        return Manifest(
            made, database, {name: store.where for name, store in stores.items()}, self.vanished, self.files
        )


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/backup", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="new or empty")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    folder: Path = arguments.folder

    def work() -> None:
        deployment = read_deployment(arguments)
        if folder.exists() and not folder.is_dir():
            raise WrongSettings("The arguments", [FieldError("FOLDER", f"{folder} is a file")])
        if folder.is_dir() and any(folder.iterdir()):
            raise WrongSettings("The arguments", [FieldError("FOLDER", f"{folder} is not empty; choose a new one")])
        folder.mkdir(parents=True, exist_ok=True)
        made = Backup(folder, deployment).make()
        manifest.write(folder, made)
        size = sum(file.size for file in made.files.values())
        gone = f"; {made.vanished} objects were deleted in the meantime and left out" if made.vanished else ""
        log(f"backup: {folder}, {len(made.files) - 1} objects and the database, {megabytes(size)}{gone}")

    return run(
        work, lambda: f"{folder} is incomplete (no {manifest.NAME}): remove it." if _is_incomplete(folder) else ""
    )


def _is_incomplete(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir()) and not (folder / manifest.NAME).exists()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
