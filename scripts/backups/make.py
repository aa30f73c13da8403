"""Copies a deployment's database and both buckets into FOLDER, while the system runs. Needs the servers of
infra/compose.yaml, infra/.env, and the database's client programs on PATH."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from backups import manifest
from backups.buckets import MARK, copy_out
from backups.command import CannotGoOn, Progress, megabytes, run, tell
from backups.deployment import Deployment, add_arguments, read_deployment
from backups.manifest import File, Manifest, describe, folder_of
from common.errors import FieldError, WrongSettings
from common.executions import timestamp

JOBS = "jobs/"
INTENT = re.compile(r"datasets/[^/]+/intents/")


class Copy:
    """A backup in the making."""

    def __init__(self, folder: Path, deployment: Deployment) -> None:
        self.folder, self.deployment = folder, deployment
        self.files: dict[str, File] = {}
        self.vanished = 0

    def objects(self, store: str, keys: list[str]) -> None:
        objects = self.deployment.stores[store]
        place = folder_of(objects.where)
        copied = copy_out(objects, keys, self.folder / place, Progress(objects.where, len(keys)))
        self.files |= {f"{place}/{key}": file for key, file in copied.items()}
        self.vanished += len(keys) - len(copied)

    def database(self) -> dict[str, object]:
        database = self.deployment.database
        tell(f"database {database.address} ...")
        versions = database.versions()
        rows = database.dump(self.folder / database.file)
        self.files[database.file] = describe(self.folder / database.file)
        tell(f"database: {sum(rows.values())} rows of {len(rows)} tables")
        return {"kind": database.kind, "file": database.file, **versions, "rows": rows}

    def make(self) -> Manifest:
        made, stores = timestamp(), self.deployment.stores
        if stores["artifacts"].get(MARK):
            raise CannotGoOn(f"A restore into this system did not end ({MARK} in {stores['artifacts'].where}).")
        # The order makes the copies fit each other although nothing stands still meanwhile. Records of trainings come
        # first: one whose state is "finished" has its version in the dump, and one that is still "running" is taken up
        # after a restore. Then the database. What it names, artifacts and snapshots, is in the buckets by then, and is
        # never deleted, so that it is in the copy. More objects than it names do no harm. Intents come before the
        # samples are listed: the sample of one that says "stored" is in the copy.
        data = stores["data"]
        self.objects("data", list(data.list(JOBS)))
        database = self.database()
        self.objects("data", [key for key in data.list("datasets/") if INTENT.match(key)])
        self.objects("data", [key for key in data.list("") if not key.startswith(JOBS) and not INTENT.match(key)])
        self.objects("artifacts", list(stores["artifacts"].list("")))
        return Manifest(made, database, {name: one.where for name, one in stores.items()}, self.vanished, self.files)


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
            raise WrongSettings("The arguments", [FieldError("FOLDER", f"{folder} is not empty; name a new one")])
        folder.mkdir(parents=True, exist_ok=True)
        made = Copy(folder, deployment).make()
        manifest.write(folder, made)
        size = sum(file.size for file in made.files.values())
        gone = f"; {made.vanished} objects were deleted meanwhile and left out" if made.vanished else ""
        tell(f"backup: {folder}, {len(made.files) - 1} objects and the database, {megabytes(size)}{gone}")

    return run(
        work, lambda: f"{folder} holds no {manifest.NAME} and so is no backup: remove it." if _part(folder) else ""
    )


def _part(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir()) and not (folder / manifest.NAME).exists()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
