"""How fast classify answers, with one worker and with two, beside its peers with the same network."""

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
from benchmarks.bars import KINDS, OURS, WORKERS, bars, medians
from benchmarks.champions import find_champions
from benchmarks.ours import Ours, floor_ms
from benchmarks.peers import CONFIGURATIONS, peer_candidates
from benchmarks.quality_data import KEY, ROOT
from benchmarks.questions import ours, read_question
from benchmarks.server import Candidate
from benchmarks.telling import print_table, tell
from benchmarks.wrk import Unmeasured, find_wrk
from common.bundle import Bundle

FUNCTIONS = ROOT / "functions"
NAMES = list(CONFIGURATIONS)
COLUMNS = ("calls_per_s", "p50_ms", "p99_ms", "cpu_ms", "pss_mb", "start_s")
TRY_S, DISTURBED = 3, 0.1
UNMEASURED = (Unmeasured, OSError, ValueError, HTTPException, psutil.Error)


def main(argv: list[str]) -> int:
    """0: every measured bar passes; 1: one fails, or a peer could not be measured; 2: ours could not."""
    parser = argparse.ArgumentParser(prog="scripts/bench classify", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="other servers too, each in an environment in .bench/")
    parser.add_argument("--only", type=names(NAMES), metavar="NAME,NAME", help=f"of the peers: {','.join(NAMES)}")
    parser.add_argument("--rounds", type=whole_number(1, 100), default=5, metavar="N", help="medians of so many (5)")
    parser.add_argument("--seconds", type=whole_number(1, 600), default=5, help="for each measurement (5)")
    parser.add_argument("--csv", type=whole_number(1, 200_000), default=100_000, metavar="ROWS", help="in one call")
    parser.add_argument("--budget", type=whole_number(1, 600), default=20, help="seconds of each training (20)")
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="PIPELINE/serving, PIPELINE/saved; made if empty")
    parser.add_argument("--key", default=KEY, help="the bundle-key of given bundles")
    parser.add_argument("--pipelines", type=Path, default=FUNCTIONS / "pipelines", metavar="DIR", help="of the bundles")
    parser.add_argument("--functions", type=Path, default=FUNCTIONS, metavar="DIR", help="those of another checkout")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object for programs")
    given = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        find_wrk()
        with tempfile.TemporaryDirectory(prefix="sabueso-bench-") as work:
            return _run(given, Path(work))
    except UNMEASURED as error:
        tell(f"! {error}")
        return 2
    except KeyboardInterrupt:
        tell("! stopped")
        return 130


def _run(given: argparse.Namespace, work: Path) -> int:
    champions = find_champions(given.bundles, work, given.budget)
    questions = {}
    for name, bundle in champions.bundles.items():
        question = read_question(name, bundle, given.key, champions.photo)
        questions[question.kind] = question
    if questions.keys() != KINDS.keys():
        raise Unmeasured(f"the bundles are not of each kind: {', '.join(KINDS)}")
    classify = Ours(work, given.functions, given.pipelines, champions.bundles, given.key)
    calls = tuple(ours(question) for question in questions.values())
    candidates = [
        Candidate(name, "", call, partial(classify.server, workers), calls)
        for name, workers in WORKERS.items()
        for call in calls
    ]
    candidates[0].measure(1)  # the first start writes bytecode and fills the disk's cache
    left_out: dict[str, str] = {}
    for name in (given.only or NAMES) if given.peers else []:
        tell(f"  {name}: installing, trying its configurations ...")
        try:
            for question in questions.values():
                champion = champions.bundles[question.pipeline].parent
                candidates.append(_best(peer_candidates(name, question, champion, work / f"{name}-{question.kind}")))
        except UNMEASURED as error:
            left_out[name] = str(error)
    measured: dict[Candidate, list[dict[str, float]]] = {candidate: [] for candidate in candidates}
    rows_per_s, floors = [], []
    picture = questions["image"]
    loaded = Bundle(champions.bundles[picture.pipeline], given.key)
    for number in range(1, given.rounds + 1):
        for candidate, rounds in measured.items():
            if candidate.name not in left_out:
                tell(f"  round {number} of {given.rounds}: {candidate.name}, {KINDS[candidate.kind]} ...")
                try:
                    rounds.append(candidate.measure(given.seconds))
                except UNMEASURED as error:
                    if candidate.name in WORKERS:
                        raise
                    left_out[candidate.name] = str(error)
        floors.append(floor_ms(loaded, picture.body))
        rows_per_s.append(classify.rows_per_s(WORKERS[OURS], questions["tabular"], given.csv))
    figures = {server: medians(rounds) for server, rounds in measured.items() if server.name not in left_out}
    csv = {"rows": given.csv, "rows_per_s": round(median(rows_per_s))}
    facts = {"bundles": champions.source, "rounds": given.rounds, "seconds": given.seconds, **machine(), "csv": csv}
    facts["floor_ms"] = round(median(floors), 3)
    return report(figures, left_out, facts, given.json)


def _best(configurations: Sequence[Candidate]) -> Candidate:
    """The one with the most calls a second in a short try. Raises Unmeasured."""
    rates: dict[Candidate, float] = {}
    why = ""
    for candidate in configurations:
        try:
            rates[candidate] = candidate.measure(TRY_S)["calls_per_s"]
            tell(f"    {KINDS[candidate.kind]}, {candidate.configuration}: {rates[candidate]:,g} calls/s")
        except UNMEASURED as error:
            why = str(error)
    if not rates:
        raise Unmeasured(why)
    return max(rates, key=rates.__getitem__)


def machine() -> dict[str, Any]:
    """What a figure depends on beside the code."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = re.search(r"^model name\s*: (.*)", cpu, re.MULTILINE)
    facts = {"cores": len(os.sched_getaffinity(0)), "cpu": name[1] if name else None}
    return {**facts, "avx512": "avx512" in cpu, "bf16": "bf16" in cpu}


def report(
    measured: Mapping[Candidate, Mapping[str, float]], left_out: dict[str, str], facts: dict[str, Any], as_json: bool
) -> int:
    """The table, the bars, what was left out; and the same for programs. Returns the exit code."""
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
    judged = bars(figures, facts["floor_ms"])
    for bar in judged:
        figure = "" if bar.figure is None else f": {bar.figure:,g}"
        print(f"  {bar.verdict:12}  {bar.name}{figure} (wanted {bar.wanted})")
    others = max(values["others"] for values in measured.values())
    if others > DISTURBED:
        tell(f"! other programs used up to {others:.0%} of this machine meanwhile: run it again alone")
    for name, why in left_out.items():
        tell(f"! {name} was left out: {why}")
    if as_json:
        results = {"figures": figures, "bars": [asdict(bar) for bar in judged], "left_out": left_out}
        print(json.dumps({**results, "run": {**facts, "others": others}}))
    return 1 if left_out or any(bar.verdict == "FAIL" for bar in judged) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
