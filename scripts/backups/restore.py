"""Loads the backup in FOLDER into an empty database and empty buckets, and verifies the result."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from backups import manifest
from backups.buckets import MARK, compare, copy_in
from backups.command import BackupError, Progress, log, megabytes, run
from backups.deployment import Deployment, add_arguments, read_deployment
from backups.manifest import Manifest
from common.timestamps import timestamp

EMPTY_BOTH = "Empty the database and the buckets, then restore again: docs/backup-and-restore.md."


class Restore:
    def __init__(self, folder: Path, deployment: Deployment, backup: Manifest) -> None:
        self.folder, self.deployment, self.backup = folder, deployment, backup
        self.has_begun = False

    def check_empty(self) -> None:
        """Raises BackupError if anything would be overwritten, or if the backup is of another kind of database."""
        database, kind = self.deployment.database, self.backup.database["kind"]
        if kind != database.kind:
            raise BackupError(f"The backup is of {kind}, but the settings name {database.kind}.")
        for store in self.deployment.stores.values():
            store.create()
        if mark := self.deployment.stores["artifacts"].get(MARK):
            raise BackupError(f"A restore that began at {json.loads(mark.body)['began']} did not finish. {EMPTY_BOTH}")
        tables = database.tables()
        full = [f"the database {database.address} has {len(tables)} tables"] if tables else []
        full += [
            f"{store.where} holds objects" for store in self.deployment.stores.values() if next(store.list(""), None)
        ]
        if full:
            raise BackupError(
                f"Nothing was restored: {' and '.join(full)}. If you don't need them: stop MLflow and the functions. "
                f"{EMPTY_BOTH}"
            )

    def load(self) -> None:
        self.has_begun = True
        mark = json.dumps({"began": timestamp(), "backup": self.backup.made}).encode()
        self.deployment.stores["artifacts"].put(MARK, mark)
        for name, store in self.deployment.stores.items():
            files = {key: self.folder / path for key, path in self.backup.objects_of(name).items()}
            copy_in(store, files, Progress(store.where, len(files)))
        database = self.deployment.database
        log(f"database {database.address} ...")
        database.load(self.folder / self.backup.database["file"])

    def verify(self) -> None:
        """Raises BackupError if the servers differ from the backup."""
        wanted = self.backup.database["rows"]
        existing = self.deployment.database.tables()
        found = self.deployment.database.rows([table for table in wanted if table in existing])
        different = [
            f"{table}: {found.get(table, 0)} rows, not {rows}"
            for table, rows in wanted.items()
            if found.get(table) != rows
        ]
        if different:
            raise BackupError(f"The database differs from the backup: {'; '.join(different)}.")
        for name, store in self.deployment.stores.items():
            files = {key: self.backup.files[path] for key, path in self.backup.objects_of(name).items()}
            compare(store, files, Progress(f"{store.where} read back", len(files)))
        self.deployment.stores["artifacts"].delete(MARK)
        self.has_begun = False


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/restore", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="from scripts/backup")
    parser.add_argument("--check", action="store_true", help="only check that the backup is complete; needs no server")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    folder: Path = arguments.folder
    begun: list[Restore] = []

    def work() -> None:
        log(f"checking {folder} ...")
        backup = manifest.read(folder)
        size = megabytes(sum(file.size for file in backup.files.values()))
        contents = f"{len(backup.files) - 1} objects and the database, {size}"
        if arguments.check:
            log(f"complete: {folder}, made {backup.made}, {contents}")
            return
        restore = Restore(folder, read_deployment(arguments), backup)
        begun.append(restore)
        restore.check_empty()
        restore.load()
        restore.verify()
        log(f"restored: {contents}, as of {backup.made}; every object was read back and compared")

    return run(work, lambda: f"The restore did not finish. {EMPTY_BOTH}" if begun and begun[0].has_begun else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
