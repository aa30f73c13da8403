"""Which samples a version was trained on, and which versions used a sample, an example, a picture or rows."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from common.errors import NotFound, Unusable
from provenance.command import Progress, log, print_csv, print_json, print_table, run
from provenance.data_access import DataAccess, add_arguments, open_data
from provenance.snapshots import StoredSnapshot, find_fingerprint, read_snapshot
from provenance.target import PARTS
from provenance.uses import Use, examples_of_file, examples_of_sample, full_hash, uses_of

EXAMPLE_COLUMNS = ("example", "label", "part", "sample", "row")
SHORT = 16


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/lineage", description=__doc__)
    add_arguments(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--version", metavar="N", help="number or alias (champion): the samples it was trained on")
    what.add_argument(
        "--snapshot", metavar="FINGERPRINT", help="the samples of a snapshot (or of the start of its name)"
    )
    what.add_argument("--sample", metavar="KEY", help="key or sha256 of a sample: the versions that used it")
    what.add_argument("--example", metavar="HASH", help="hash of an example, or its start: the versions that used it")
    what.add_argument(
        "--file", type=Path, metavar="FILE", help="a picture, or a CSV with a header: the versions that used it"
    )
    parser.add_argument("--examples", action="store_true", help="list each example: hash, label, part, sample, row")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object")
    form.add_argument("--csv", action="store_true", help="CSV with a header")
    arguments = parser.parse_args(argv)
    return run(lambda: _answer(arguments, open_data(arguments, os.environ)))


def _answer(arguments: argparse.Namespace, data: DataAccess) -> None:
    if arguments.version or arguments.snapshot:
        _of_snapshot(arguments, data)
    elif arguments.sample or arguments.example or arguments.file:
        _of_examples(arguments, data)
    else:
        _all_versions(arguments, data)


def _all_versions(arguments: argparse.Namespace, data: DataAccess) -> None:
    columns = ("version", "champion", "decision", "rejected", "examples", "trained_at", "snapshot")
    champion = data.champion()
    rows = []
    for version in data.versions():
        tags = version.tags
        mark, rejected = "champion" if version.number == champion else "", "rejected" if tags.is_rejected else ""
        facts = [tags.decision or "", rejected, tags.examples, tags.trained_at, tags.snapshot or ""]
        rows.append([version.number, mark, *facts])
    if not rows:
        raise NotFound(f"{data.pipeline.name} has no version yet in MLflow at {data.registry.where}")
    listed = [
        {**dict(zip(columns, row, strict=True)), "champion": bool(row[1]), "rejected": bool(row[3])} for row in rows
    ]
    body = {"pipeline": data.pipeline.name, "versions": listed}
    _write(arguments, columns, rows, body)


def _of_snapshot(arguments: argparse.Namespace, data: DataAccess) -> None:
    number = None
    if arguments.version:
        number, fingerprint = data.version(arguments.version)
    else:
        fingerprint = find_fingerprint(data.dataset, arguments.snapshot)
    snapshot = read_snapshot(data.pipeline, data.dataset, fingerprint)
    counts = Counter((example.sample, example.part) for example in snapshot.examples)
    columns: tuple[str, ...] = ("sample", *PARTS)
    rows: list[list[Any]] = [[key, *(counts[key, part] for part in PARTS)] for key in snapshot.samples]
    body = {
        "pipeline": data.pipeline.name,
        "version": number,
        "snapshot": snapshot.fingerprint,
        "created": snapshot.created,
        "samples": [dict(zip(columns, row, strict=True)) for row in rows],
    }
    if arguments.examples:
        columns = EXAMPLE_COLUMNS
        rows = [[getattr(example, name) for name in EXAMPLE_COLUMNS] for example in snapshot.examples]
        body["examples"] = [dict(zip(columns, row, strict=True)) for row in rows]
    if not (arguments.json or arguments.csv):
        _print_summary(number, snapshot)
    _write(arguments, columns, rows, body)


def _print_summary(number: str | None, snapshot: StoredSnapshot) -> None:
    sizes = Counter(example.part for example in snapshot.examples)
    parts = ", ".join(f"{part} {sizes[part]}" for part in PARTS)
    print(f"{f'version {number}, ' if number else ''}snapshot {snapshot.fingerprint} of {snapshot.created}")
    print(f"{len(snapshot.examples)} examples ({parts}) of {len(snapshot.samples)} samples;", end=" ")
    print("each example counts for the first sample that had it\n")


def _of_examples(arguments: argparse.Namespace, data: DataAccess) -> None:
    if arguments.sample:
        key, asked = examples_of_sample(data, arguments.sample)
        origin = {"sample": key}
    elif arguments.file:
        asked, origin = examples_of_file(data, arguments.file), {"file": str(arguments.file)}
    else:
        asked, origin = [arguments.example.lower()], {"example": arguments.example.lower()}
    uses = uses_of(data, asked, Progress("snapshots read"), arguments.example is not None)
    if arguments.example:
        asked = [full_hash(uses, asked[0])]
    columns: tuple[str, ...] = ("version", "champion", "decision", "used", *PARTS, "snapshot")
    rows: list[list[Any]] = []
    for use in uses:
        sizes = Counter(example.part for example in use.examples)
        share = f"{len(use.examples)} of {len(asked)}" if use.missing is None else use.missing
        rows.append([use.version, use.champion, use.decision, share, *(sizes[part] for part in PARTS), use.snapshot])
    body = {
        "pipeline": data.pipeline.name,
        **origin,
        "asked": asked,
        "versions": [
            {
                "version": use.version,
                "champion": bool(use.champion),
                "decision": use.decision,
                "snapshot": use.snapshot,
                "missing": use.missing,
                "examples": [vars(example) for example in use.examples],
            }
            for use in uses
        ],
    }
    if (len(asked) == 1 or arguments.examples) and not arguments.json:
        columns = ("version", "champion", "decision", *EXAMPLE_COLUMNS)
        rows = [
            [use.version, use.champion, use.decision, *(getattr(example, name) for name in EXAMPLE_COLUMNS)]
            for use in uses
            for example in use.examples
        ]
    _write(arguments, columns, rows, body)
    _log_rest(arguments, uses, asked)


def _log_rest(arguments: argparse.Namespace, uses: list[Use], asked: list[str]) -> None:
    """What the table does not show: examples that no version used, snapshots that can't be read."""
    if not asked:
        raise Unusable("it holds no usable example: each was rejected when it was collected")
    unused = set(asked) - {example.example for use in uses for example in use.examples}
    if unused and not arguments.json:
        log(f"no version used {len(unused)} of {len(set(asked))} examples")
    for use in uses:
        if use.missing is not None:
            log(f"! version {use.version}: {use.missing}")


def _write(
    arguments: argparse.Namespace, columns: tuple[str, ...], rows: list[list[Any]], body: dict[str, Any]
) -> None:
    if arguments.json:
        print_json(body)
    elif arguments.csv:
        print_csv(columns, rows)
    else:
        print_table(columns, [_shortened(columns, row) if len(rows) > 1 else row for row in rows])


def _shortened(columns: tuple[str, ...], row: list[Any]) -> list[Any]:
    """Hashes cut to 16 characters, which are enough to look them up."""
    pairs = zip(columns, row, strict=True)
    return [str(cell)[:SHORT] if name in ("snapshot", "example") else cell for name, cell in pairs]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
