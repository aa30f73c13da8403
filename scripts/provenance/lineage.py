"""What a version was trained on, and which versions a sample, an example, a picture or rows were used by."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from common.errors import NotFound, Unusable
from provenance.command import Progress, run, show, write_json, write_rows
from provenance.place import Place, add_arguments, open_place
from provenance.uses import examples_of_file, examples_of_sample, one_example, uses_of
from train.snapshot import PARTS
from train.stored_snapshot import StoredSnapshot, find_fingerprint, read_snapshot

EXAMPLE_COLUMNS = ("example", "label", "part", "sample", "row")
SHORT = 16


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/lineage", description=__doc__)
    add_arguments(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--version", metavar="N", help="number or alias (champion): the samples it was trained on")
    what.add_argument("--snapshot", metavar="FINGERPRINT", help="the same of a snapshot (or the start of its name)")
    what.add_argument("--sample", metavar="KEY", help="a sample's key, or the sha256 in it: the versions that used it")
    what.add_argument("--example", metavar="HASH", help="an example's hash (or its start): the versions that used it")
    what.add_argument("--file", type=Path, metavar="FILE", help="a picture, or a CSV with a header: the same")
    parser.add_argument(
        "--examples", action="store_true", help="each example by itself: hash, label, part, sample, row"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object")
    form.add_argument("--csv", action="store_true", help="CSV with a header")
    given = parser.parse_args(argv)
    return run(lambda: _answer(given, open_place(given, os.environ)))


def _answer(given: argparse.Namespace, place: Place) -> None:
    if given.version or given.snapshot:
        _of_snapshot(given, place)
    elif given.sample or given.example or given.file:
        _of_examples(given, place)
    else:
        _all_versions(given, place)


def _all_versions(given: argparse.Namespace, place: Place) -> None:
    columns = ("version", "champion", "decision", "rejected", "examples", "trained_at", "snapshot")
    champion = place.champion()
    rows = []
    for one in place.versions():
        tags, number = one["tags"], str(one["version"])
        told = [tags.get(f"sabueso.{name}", "") for name in ("decision", "examples", "trained_at", "snapshot")]
        told.insert(1, "rejected" if tags.get("sabueso.rejected") == "true" else "")
        rows.append([number, "champion" if number == champion else "", *told])
    if not rows:
        raise NotFound(f"{place.pipeline.name} has no version yet in MLflow at {place.registry.where}")
    listed = [
        {**dict(zip(columns, row, strict=True)), "champion": bool(row[1]), "rejected": bool(row[3])} for row in rows
    ]
    body = {"pipeline": place.pipeline.name, "versions": listed}
    _write(given, columns, rows, body)


def _of_snapshot(given: argparse.Namespace, place: Place) -> None:
    number = None
    if given.version:
        number, fingerprint = place.version(given.version)
    else:
        fingerprint = find_fingerprint(place.dataset, given.snapshot)
    snapshot = read_snapshot(place.pipeline, place.dataset, fingerprint)
    counts = Counter((one.sample, one.part) for one in snapshot.examples)
    columns: tuple[str, ...] = ("sample", *PARTS)
    rows: list[list[Any]] = [[key, *(counts[key, part] for part in PARTS)] for key in snapshot.samples]
    body = {
        "pipeline": place.pipeline.name,
        "version": number,
        "snapshot": snapshot.fingerprint,
        "created": snapshot.created,
        "samples": [dict(zip(columns, row, strict=True)) for row in rows],
    }
    if given.examples:
        columns, rows = EXAMPLE_COLUMNS, [[getattr(one, name) for name in EXAMPLE_COLUMNS] for one in snapshot.examples]
        body["examples"] = [dict(zip(columns, row, strict=True)) for row in rows]
    if not (given.json or given.csv):
        _head(number, snapshot)
    _write(given, columns, rows, body)


def _head(number: str | None, snapshot: StoredSnapshot) -> None:
    parts = Counter(one.part for one in snapshot.examples)
    told = ", ".join(f"{part} {parts[part]}" for part in PARTS)
    print(f"{f'version {number}, ' if number else ''}snapshot {snapshot.fingerprint} of {snapshot.created}")
    print(f"{len(snapshot.examples)} examples ({told}) of {len(snapshot.samples)} samples;", end=" ")
    print("an example counts for the sample that had it first\n")


def _of_examples(given: argparse.Namespace, place: Place) -> None:
    if given.sample:
        key, asked = examples_of_sample(place, given.sample)
        named = {"sample": key}
    elif given.file:
        asked, named = examples_of_file(place, given.file), {"file": str(given.file)}
    else:
        asked, named = [given.example.lower()], {"example": given.example.lower()}
    used = uses_of(place, asked, Progress("snapshots read"), given.example is not None)
    if given.example:
        asked = [one_example(used, asked[0])]
    columns: tuple[str, ...] = ("version", "champion", "decision", "used", *PARTS, "snapshot")
    rows: list[list[Any]] = []
    for use in used:
        parts = Counter(one.part for one in use.examples)
        told = f"{len(use.examples)} of {len(asked)}" if use.missing is None else use.missing
        rows.append([use.version, use.champion, use.decision, told, *(parts[part] for part in PARTS), use.snapshot])
    body = {
        "pipeline": place.pipeline.name,
        **named,
        "asked": asked,
        "versions": [
            {
                "version": use.version,
                "champion": bool(use.champion),
                "decision": use.decision,
                "snapshot": use.snapshot,
                "missing": use.missing,
                "examples": [vars(one) for one in use.examples],
            }
            for use in used
        ],
    }
    few = len(asked) == 1 or given.examples
    if few and not given.json:
        columns = ("version", "champion", "decision", *EXAMPLE_COLUMNS)
        rows = [
            [use.version, use.champion, use.decision, *(getattr(one, name) for name in EXAMPLE_COLUMNS)]
            for use in used
            for one in use.examples
        ]
    _write(given, columns, rows, body)
    _tell_rest(given, used, asked)


def _tell_rest(given: argparse.Namespace, used: list[Any], asked: list[str]) -> None:
    """What a table does not show: examples that no version used, snapshots that are gone."""
    if not asked:
        raise Unusable("it holds no usable example: each was refused when it was collected")
    found = {one.example for use in used for one in use.examples}
    unused = len(set(asked) - found)
    if unused and not given.json:
        print(f"{unused} of {len(set(asked))} examples are in no version", file=sys.stderr)
    for use in used:
        if use.missing is not None:
            print(f"! version {use.version}: {use.missing}", file=sys.stderr)


def _write(given: argparse.Namespace, columns: tuple[str, ...], rows: list[list[Any]], body: dict[str, Any]) -> None:
    if given.json:
        write_json(body)
    elif given.csv:
        write_rows(columns, rows)
    else:
        show(columns, [_shortened(columns, row) if len(rows) > 1 else row for row in rows])


def _shortened(columns: tuple[str, ...], row: list[Any]) -> list[Any]:
    """Hashes cut for a table of several lines; the start of a hash is enough to ask by it."""
    pairs = zip(columns, row, strict=True)
    return [str(cell)[:SHORT] if name in ("snapshot", "example") else cell for name, cell in pairs]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
