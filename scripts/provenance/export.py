"""Writes a snapshot's examples to a file or folder: CSV or Parquet, or class folders of the pictures as received."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from common.errors import NotFound, Unusable
from common.storage.executions import history
from common.storage.training_record import TrainingRecord
from provenance.command import Progress, log, run
from provenance.data_access import DataAccess, add_arguments, open_data
from provenance.formats import FORMATS
from provenance.snapshots import find_fingerprint, read_inputs, read_snapshot
from provenance.target import atomic_target

LATEST = "latest"
MAX_EXECUTIONS = 1000


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/export", description=__doc__)
    add_arguments(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--snapshot",
        metavar="FINGERPRINT",
        default=LATEST,
        help="or the start of it (default: latest, the snapshot of the newest training)",
    )
    which.add_argument("--version", metavar="N", help="the snapshot of this version: number or alias (champion)")
    parser.add_argument("--format", required=True, choices=sorted(FORMATS), help="folders: PATH/PART/LABEL/HASH.jpg")
    parser.add_argument("--out", required=True, type=Path, metavar="PATH")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    arguments = parser.parse_args(argv)
    return run(lambda: _export(arguments, open_data(arguments, os.environ)))


def _export(arguments: argparse.Namespace, data: DataAccess) -> None:
    pipeline, dataset = data.pipeline, data.dataset
    if arguments.format == "folders" and pipeline.kind != "image":
        raise Unusable(f"{pipeline.name} has rows, and folders are for pictures: use csv or parquet")
    with atomic_target(arguments.out, arguments.format == "folders", arguments.overwrite) as target:
        snapshot = read_snapshot(pipeline, dataset, find_snapshot(arguments, data))
        examples = read_inputs(pipeline, dataset, snapshot, Progress("samples read"))
        FORMATS[arguments.format](pipeline, examples, target)
    log(f"{arguments.out}: {len(snapshot.examples)} examples of snapshot {snapshot.fingerprint}")


def find_snapshot(arguments: argparse.Namespace, data: DataAccess) -> str:
    """The fingerprint of the snapshot to export. Raises NotFound."""
    if arguments.version:
        return data.version(arguments.version)[1]
    if arguments.snapshot != LATEST:
        return find_fingerprint(data.dataset, arguments.snapshot)
    store, name = data.dataset.store, data.pipeline.name
    for execution in history(store, name, TrainingRecord, MAX_EXECUTIONS):
        if execution.record.snapshot:
            return execution.record.snapshot
    raise NotFound(f"no training of {name} has taken a snapshot yet in {store.where}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
