"""Writes a snapshot's examples to a file or folder: CSV or Parquet, or class folders of the pictures as received."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from common.errors import NotFound, Unusable
from common.executions import history
from provenance.command import Progress, run, tell
from provenance.formats import FORMATS
from provenance.place import Place, add_arguments, open_place
from provenance.target import written
from train.stored_snapshot import find_fingerprint, read_inputs, read_snapshot

LATEST = "latest"
LOOKED_THROUGH = 1000


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/export", description=__doc__)
    add_arguments(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--snapshot",
        metavar="FINGERPRINT",
        default=LATEST,
        help="or the start of it (default: latest, that of the newest training)",
    )
    which.add_argument("--version", metavar="N", help="the snapshot of this version: number or alias (champion)")
    parser.add_argument("--format", required=True, choices=sorted(FORMATS), help="folders: PATH/PART/LABEL/HASH.jpg")
    parser.add_argument("--out", required=True, type=Path, metavar="PATH")
    parser.add_argument("--overwrite", action="store_true", help="take the place of an earlier export")
    given = parser.parse_args(argv)
    return run(lambda: _export(given, open_place(given, os.environ)))


def _export(given: argparse.Namespace, place: Place) -> None:
    pipeline, dataset = place.pipeline, place.dataset
    if given.format == "folders" and pipeline.kind != "image":
        raise Unusable(f"{pipeline.name} has rows, and folders are for pictures: take csv or parquet")
    with written(given.out, given.format == "folders", given.overwrite) as target:
        snapshot = read_snapshot(pipeline, dataset, find_snapshot(given, place))
        examples = read_inputs(pipeline, dataset, snapshot, Progress("samples read"))
        FORMATS[given.format](pipeline, examples, target)
    tell(f"{given.out}: {len(snapshot.examples)} examples of snapshot {snapshot.fingerprint}")


def find_snapshot(given: argparse.Namespace, place: Place) -> str:
    """The fingerprint that was asked for. Raises NotFound."""
    if given.version:
        return place.version(given.version)[1]
    if given.snapshot != LATEST:
        return find_fingerprint(place.dataset, given.snapshot)
    for record in history(place.dataset.objects, place.pipeline.name, "train", most=LOOKED_THROUGH):
        if record.body.get("snapshot"):
            return str(record.body["snapshot"])
    raise NotFound(f"no training of {place.pipeline.name} has taken a snapshot yet in {place.dataset.objects.where}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
