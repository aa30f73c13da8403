"""Loads the backup in FOLDER into an empty database and empty buckets, and compares what is there then with it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from backups import manifest
from backups.buckets import MARK, compare, copy_in
from backups.command import CannotGoOn, Progress, megabytes, run, tell
from backups.deployment import Deployment, add_arguments, read_deployment
from backups.manifest import Manifest
from common.executions import timestamp

EMPTY_BOTH = "Empty database and buckets, and start again: docs/operations.md, Backup and restore."


class Restore:
    def __init__(self, folder: Path, deployment: Deployment, backup: Manifest) -> None:
        self.folder, self.deployment, self.backup = folder, deployment, backup
        self.began = False

    def refuse_what_is_in_use(self) -> None:
        """Raises CannotGoOn if the backup is of another kind of database, or if anything would be overwritten."""
        database, kind = self.deployment.database, self.backup.database["kind"]
        if kind != database.kind:
            raise CannotGoOn(f"The backup is of {kind}, and the settings name {database.kind}.")
        for store in self.deployment.stores.values():
            store.make()
        if mark := self.deployment.stores["artifacts"].get(MARK):
            raise CannotGoOn(f"A restore that began at {json.loads(mark.body)['began']} did not end. {EMPTY_BOTH}")
        tables = database.tables()
        full = [f"the database {database.address} holds tables ({len(tables)})"] if tables else []
        full += [
            f"{store.where} holds objects" for store in self.deployment.stores.values() if next(store.list(""), None)
        ]
        if full:
            raise CannotGoOn(
                f"Nothing was restored: {' and '.join(full)}. If they are not needed: stop MLflow and the functions. "
                f"{EMPTY_BOTH}"
            )

    def load(self) -> None:
        self.began = True
        mark = json.dumps({"began": timestamp(), "backup": self.backup.made}).encode()
        self.deployment.stores["artifacts"].put(MARK, mark)
        for name, store in self.deployment.stores.items():
            files = {key: self.folder / path for key, path in self.backup.objects_of(name).items()}
            copy_in(store, files, Progress(store.where, len(files)))
        database = self.deployment.database
        tell(f"database {database.address} ...")
        database.load(self.folder / self.backup.database["file"])

    def verify(self) -> None:
        """Raises CannotGoOn if the servers don't hold now what the backup does."""
        wanted = self.backup.database["rows"]
        there = self.deployment.database.tables()
        found = self.deployment.database.rows([table for table in wanted if table in there])
        different = [
            f"{table}: {found.get(table, 0)} rows, not {rows}"
            for table, rows in wanted.items()
            if found.get(table) != rows
        ]
        if different:
            raise CannotGoOn(f"The database does not hold what the backup does: {'; '.join(different)}.")
        for name, store in self.deployment.stores.items():
            files = {key: self.backup.files[path] for key, path in self.backup.objects_of(name).items()}
            compare(store, files, Progress(f"{store.where} read back", len(files)))
        self.deployment.stores["artifacts"].delete(MARK)
        self.began = False


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/restore", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="made by scripts/backup")
    parser.add_argument("--check", action="store_true", help="only look whether the backup is whole; needs no server")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    folder: Path = arguments.folder
    begun: list[Restore] = []

    def work() -> None:
        tell(f"checking {folder} ...")
        backup = manifest.read(folder)
        size = megabytes(sum(file.size for file in backup.files.values()))
        whole = f"{len(backup.files) - 1} objects and the database, {size}"
        if arguments.check:
            tell(f"whole: {folder}, made {backup.made}, {whole}")
            return
        restore = Restore(folder, read_deployment(arguments), backup)
        begun.append(restore)
        restore.refuse_what_is_in_use()
        restore.load()
        restore.verify()
        tell(f"restored: {whole}, as they were at {backup.made}; every object was read back")

    return run(work, lambda: f"The restore did not end. {EMPTY_BOTH}" if begun and begun[0].began else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
