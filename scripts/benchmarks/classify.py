"""Measures how fast classify answers with one worker and with two, compared with peers that serve the same network."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from http.client import HTTPException
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.arguments import names, whole_number
from benchmarks.calls import ours, read_case
from benchmarks.champions import find_champions
from benchmarks.ours import Ours, floor_ms
from benchmarks.output import log, print_table
from benchmarks.peers import CONFIGURATIONS, peer_candidates
from benchmarks.quality_data import KEY, ROOT
from benchmarks.server import Candidate
from benchmarks.targets import KINDS, OURS, WORKERS, judge_targets, medians
from benchmarks.wrk import MeasurementFailed, find_wrk
from common.inference.bundle import Bundle

FUNCTIONS = ROOT / "functions"
NAMES = list(CONFIGURATIONS)
COLUMNS = ("calls_per_s", "p50_ms", "p99_ms", "cpu_ms", "pss_mb", "start_s")
TRIAL_S, MAX_OTHERS = 3, 0.1
FAILURES = (MeasurementFailed, OSError, ValueError, HTTPException, psutil.Error)


def main(argv: list[str]) -> int:
    """Exit code 0: every measured target is met; 1: one is missed, or a peer failed; 2: classify itself failed."""
    parser = argparse.ArgumentParser(prog="scripts/bench classify", description=__doc__)
    parser.add_argument(
        "--peers", action="store_true", help="measure other servers too, each in an environment in .bench/"
    )
    parser.add_argument("--only", type=names(NAMES), metavar="NAME,NAME", help=f"only these peers: {','.join(NAMES)}")
    parser.add_argument(
        "--rounds", type=whole_number(1, 100), default=5, metavar="N", help="report medians of N rounds (5)"
    )
    parser.add_argument("--seconds", type=whole_number(1, 600), default=5, help="per measurement (5)")
    parser.add_argument(
        "--csv", type=whole_number(1, 100_000), default=100_000, metavar="ROWS", help="rows of one large call"
    )
    parser.add_argument("--budget", type=whole_number(1, 600), default=20, help="seconds per training (20)")
    parser.add_argument(
        "--bundles", type=Path, metavar="DIR", help="PIPELINE/serving, PIPELINE/saved; trained if empty"
    )
    parser.add_argument("--key", default=KEY, help="bundle-key of the bundles")
    parser.add_argument(
        "--pipelines", type=Path, default=FUNCTIONS / "pipelines", metavar="DIR", help="pipeline files of the bundles"
    )
    parser.add_argument(
        "--functions", type=Path, default=FUNCTIONS, metavar="DIR", help="functions/ of another checkout"
    )
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object for programs")
    given = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        find_wrk()
        with tempfile.TemporaryDirectory(prefix="sabueso-bench-") as work:
            return _run(given, Path(work))
    except FAILURES as error:
        log(f"! {error}")
        return 2
    except KeyboardInterrupt:
        log("! stopped")
        return 130


def _run(given: argparse.Namespace, work: Path) -> int:
    champions = find_champions(given.bundles, work, given.budget)
    cases = {}
    for name, bundle in champions.bundles.items():
        case = read_case(name, bundle, given.key, champions.photo)
        cases[case.kind] = case
    if cases.keys() != KINDS.keys():
        raise MeasurementFailed(f"bundles of both kinds are needed: {', '.join(KINDS)}")
    classify = Ours(work, given.functions, given.pipelines, champions.bundles, given.key)
    calls = tuple(ours(case) for case in cases.values())
    candidates = [
        Candidate(name, "", call, partial(classify.server, workers), calls)
        for name, workers in WORKERS.items()
        for call in calls
    ]
    candidates[0].measure(1)  # the first start writes bytecode and warms the disk cache
    left_out: dict[str, str] = {}
    for name in (given.only or NAMES) if given.peers else []:
        log(f"  {name}: installing it and trying its configurations ...")
        try:
            for case in cases.values():
                champion = champions.bundles[case.pipeline].parent
                candidates.append(_best(peer_candidates(name, case, champion, work / f"{name}-{case.kind}")))
        except FAILURES as error:
            left_out[name] = str(error)
    measured: dict[Candidate, list[dict[str, float]]] = {candidate: [] for candidate in candidates}
    rows_per_s, floors = [], []
    picture = cases["image"]
    loaded = Bundle(champions.bundles[picture.pipeline], given.key)
    for number in range(1, given.rounds + 1):
        for candidate, rounds in measured.items():
            if candidate.name not in left_out:
                log(f"  round {number} of {given.rounds}: {candidate.name}, {KINDS[candidate.kind]} ...")
                try:
                    rounds.append(candidate.measure(given.seconds))
                except FAILURES as error:
                    if candidate.name in WORKERS:
                        raise
                    left_out[candidate.name] = str(error)
        floors.append(floor_ms(loaded, picture.body))
        rows_per_s.append(classify.rows_per_s(WORKERS[OURS], cases["tabular"], given.csv))
    figures = {server: medians(rounds) for server, rounds in measured.items() if server.name not in left_out}
    csv = {"rows": given.csv, "rows_per_s": round(median(rows_per_s))}
    facts = {"bundles": champions.source, "rounds": given.rounds, "seconds": given.seconds, **machine(), "csv": csv}
    facts["floor_ms"] = round(median(floors), 3)
    return report(figures, left_out, facts, given.json)


def _best(configurations: Sequence[Candidate]) -> Candidate:
    """The configuration with the most calls per second in a short trial. Raises MeasurementFailed."""
    rates: dict[Candidate, float] = {}
    reason = ""
    for candidate in configurations:
        try:
            rates[candidate] = candidate.measure(TRIAL_S)["calls_per_s"]
            log(f"    {KINDS[candidate.kind]}, {candidate.configuration}: {rates[candidate]:,g} calls/s")
        except FAILURES as error:
            reason = str(error)
    if not rates:
        raise MeasurementFailed(reason)
    return max(rates, key=rates.__getitem__)


def machine() -> dict[str, Any]:
    """Facts of the machine that the figures depend on."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = re.search(r"^model name\s*: (.*)", cpu, re.MULTILINE)
    facts = {"cores": len(os.sched_getaffinity(0)), "cpu": name[1] if name else None}
    return {**facts, "avx512": "avx512" in cpu, "bf16": "bf16" in cpu}


def report(
    measured: Mapping[Candidate, Mapping[str, float]], left_out: dict[str, str], facts: dict[str, Any], as_json: bool
) -> int:
    """Print the table, the targets and the peers that failed; with `as_json` also as JSON. Returns the exit code."""
    figures = {
        kind: {server.name: values for server, values in measured.items() if server.kind == kind} for kind in KINDS
    }
    rows = [
        [KINDS[server.kind], server.name, server.configuration, *(f"{values[column]:,g}" for column in COLUMNS)]
        for server, values in measured.items()
    ]
    print_table(("input", "server", "configuration", *COLUMNS), sorted(rows, key=lambda row: row[0]))
    print(f"one CSV of {facts['csv']['rows']:,} rows: {facts['csv']['rows_per_s']:,} rows/s\n")
    print(f"a picture's decoder and network alone: {facts['floor_ms']:g} ms of CPU\n")
    judged = judge_targets(figures, facts["floor_ms"])
    for target in judged:
        figure = "" if target.figure is None else f": {target.figure:,g}"
        print(f"  {target.verdict:12}  {target.name}{figure} (wanted {target.wanted})")
    others = max(values["others"] for values in measured.values())
    if others > MAX_OTHERS:
        log(f"! other programs used up to {others:.0%} of this machine during the run: repeat it on an idle machine")
    for name, reason in left_out.items():
        log(f"! {name} was left out: {reason}")
    if as_json:
        results = {"figures": figures, "bars": [asdict(target) for target in judged], "left_out": left_out}
        print(json.dumps({**results, "run": {**facts, "others": others}}))
    return 1 if left_out or any(target.verdict == "FAIL" for target in judged) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
