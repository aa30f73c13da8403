"""The rounds of a comparison: one server after another in each, so that what slows the machine slows all; tables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.bars import FLOOR, KINDS, OURS, bars, medians
from benchmarks.champions import Champions
from benchmarks.classify_ours import Figures, Ours, measure_ours
from benchmarks.classify_peers import Peers
from benchmarks.floor import measure_floor
from benchmarks.probes import Probe
from benchmarks.table import print_table

PLACES = ("image", "tabular", "image_12mp")
ALONE = ("bulk", "explain")  # figures that only ours has
COLUMNS = (
    *("input", "server", "configuration", "cold s", "PSS MB", "calls/s at 1", "at 8", "at 32"),
    *("p50 ms at 8", "p99 ms at 8", "CPU ms a call"),
)
KEYS = ("cold_s", "pss_mb", "rps_c1", "rps_c8", "rps_c32", "p50_ms_c8", "p99_ms_c8", "cpu_ms_c8")
DISTURBED = 0.1
SPARED = "Peers get rows encoded already: they are spared the reading and checking of one."


class Rounds:
    """What was measured, by place (input) and server, round by round."""

    def __init__(
        self, champions: Champions, probes: Mapping[str, Probe], ours: Ours, peers: Peers, tell: Callable[[str], None]
    ) -> None:
        self.champions, self.probes, self.ours, self.peers, self.tell = champions, probes, ours, peers, tell
        self._found: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def measure(self, told: str) -> None:
        """One round: of each kind the floor, ours, each peer."""
        for kind in KINDS:
            self.tell(f"  {told}, {kind}: the floor ...")
            self._keep(self._floor(kind))
            self.tell(f"  {told}, {kind}: ours ...")
            self._keep(measure_ours(self.ours, kind, self.probes))
            for one in self.peers.of(kind):
                self.tell(f"  {told}, {kind}: {one.name} ...")
                if (figures := self.peers.measure(one)) is not None:
                    self._keep({(kind, one.name): figures})

    def _keep(self, figures: Figures) -> None:
        for (place, server), each in figures.items():
            self._found.setdefault(place, {}).setdefault(server, []).append(each)

    def _floor(self, kind: str) -> Figures:
        probe, ours = self.probes[kind], self.ours
        bundle, bodies = self.champions.bundle(probe.pipeline), {kind: probe.usual, f"{kind}_12mp": probe.large}
        return {
            (place, FLOOR): measure_floor(bundle, body, ours.work, ours.seconds, ours.functions)
            for place, body in bodies.items()
            if body
        }

    def medians(self) -> dict[str, Any]:
        """By place and server; `bulk` and `explain` are ours alone, and the latter's `ratio` is its worst."""
        found: dict[str, Any] = {
            place: {server: medians(each) for server, each in servers.items()} for place, servers in self._found.items()
        }
        for place in ALONE:
            if place in found:
                found[place] = found[place][OURS]
        if "explain" in found:
            found["explain"] = {"ratio": max(found["explain"].values()), **found["explain"]}
        return found


def told(found: dict[str, Any], run_of: dict[str, Any], left_out: Mapping[str, str], as_json: bool) -> None:
    """Print the tables, the bars, what was left out; and the same for programs."""
    judged = bars(found)
    rows = [_line(place, server, one) for place in PLACES for server, one in found.get(place, {}).items()]
    print_table(COLUMNS, rows)
    print(f"{SPARED}\n")
    for bar in judged:
        met = "not measured" if bar.met is None else ("met" if bar.met else "NOT MET")
        print(f"  {met:12}  {bar.told}: {'-' if bar.figure is None else f'{bar.figure:,g}'} (wanted {bar.wanted})")
    others = max((one.get("others_cpu", 0) for kind in KINDS for one in found[kind].values()), default=0)
    if others > DISTURBED:
        print(
            f"! other programs used up to {others:.0%} of this machine meanwhile: run it again alone", file=sys.stderr
        )
    if "failed" in found.get("bulk", {}):
        print(f"! rows in one CSV: {found['bulk']['failed']}", file=sys.stderr)
    for name, why in left_out.items():
        print(f"! {name} was left out: {why}", file=sys.stderr)
    if as_json:
        more = {
            "bars": [bar.as_dict() for bar in judged],
            "run": {**run_of, "cores": os.cpu_count(), "others_cpu": others},
        }
        print(json.dumps({**found, **more, "left_out": dict(left_out)}))


def _line(place: str, server: str, one: Mapping[str, Any]) -> list[str]:
    """A row of the table; the floor has no clients, its figures stand where those of 8 do."""
    figures = {**one, "rps_c8": one.get("rps"), "cpu_ms_c8": one.get("cpu_ms")} if server == FLOOR else one
    numbers = ["-" if figures.get(key) is None else f"{figures[key]:,g}" for key in KEYS]
    return [place, server, str(one.get("configuration", "")), *numbers]
