"""Our server's figures: both cold starts, memory, load, and what only it has: large pictures, many rows, reasons."""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import requests

from benchmarks.bars import BULK_ROWS
from benchmarks.figures import under_load
from benchmarks.generator import Generator
from benchmarks.probes import Probe, csv_of
from benchmarks.served import NotServing, Served, once
from benchmarks.serving_ours import ask, classify, labelled, told
from benchmarks.serving_theirs import apart
from benchmarks.wire import request_bytes

START_S, BULK_S, LONG_S = 60.0, 240.0, 10.0
# The same decoded picture or encoded row gives the same answer; ours are rounded to six places.
APART = 1e-3
TYPES = {"image": "image/jpeg", "tabular": "application/json"}
Figures = dict[tuple[str, str], dict[str, Any]]


class Ours:
    """The function with its MLflow, started and ended as often as is measured."""

    def __init__(
        self, work: Path, functions: Path, pipelines: Path, mlflow: str, key: str, generator: Generator, seconds: float
    ) -> None:
        self.work, self.functions, self.pipelines, self.mlflow, self.key = work, functions, pipelines, mlflow, key
        self.generator, self.seconds, self.bulk_rows = generator, seconds, BULK_ROWS

    def start_once(self, probes: Mapping[str, Probe]) -> None:
        """Before anything is measured: bytecode is written, MLflow imports what it needs, each answer is right."""
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        compileall.compile_dir(self.functions, quiet=2)
        for kind, probe in probes.items():
            with self.started(probe, keep=False) as (served, _):
                wait_for(served, {kind: probe})
                request = ask(served.url, probe.pipeline, probe.exact, "image/png" if kind == "image" else TYPES[kind])
                answer = once(served.url, request, START_S)
                apart(told(answer.body, probe.labels)[1], probe.probabilities, APART)

    @contextlib.contextmanager
    def started(self, probe: Probe, keep: bool) -> Iterator[tuple[Served, float]]:
        """A server that has answered right, and after how long; with `keep` it has the scratch of the one before."""
        if not keep:
            shutil.rmtree(self.work / "scratch", ignore_errors=True)
        served = classify(self.work, self.functions, self.pipelines, self.mlflow, self.key)
        try:
            request = ask(served.url, probe.pipeline, probe.usual, TYPES[probe.kind])
            yield served, served.start(request, labelled(probe.label), START_S)
        finally:
            served.stop()


def measure_ours(ours: Ours, kind: str, probes: Mapping[str, Probe]) -> Figures:
    """One round: from MLflow, then from the scratch folder, which goes on with memory and load."""
    probe = probes[kind]
    with ours.started(probe, keep=False) as (served, from_mlflow_s):
        wait_for(served, probes)  # so that all bundles are kept
    with ours.started(probe, keep=True) as (served, kept_s):
        wait_for(served, probes)
        figures: dict[str, Any] = {"cold_s": round(kept_s, 3), "cold_mlflow_s": round(from_mlflow_s, 3)}
        figures |= {"pss_mb": round(served.pss_mb(), 1), "processes": len(served.processes())}
        found: Figures = {(kind, "ours"): figures}
        if probe.large:
            figures["peak_12mp_mb"] = _peak(served, probe)
        request = ask(served.url, probe.pipeline, probe.usual, TYPES[kind])
        figures |= _load(ours, served, request, probe.label)
        figures |= {"pss_mb_after": round(served.pss_mb(), 1), "configuration": "as stack.yml has it"}
        if probe.large:
            large = ask(served.url, probe.pipeline, probe.large, TYPES[kind])
            found["image_12mp", "ours"] = _load(ours, served, large, probe.large_label)
        if kind == "tabular":
            found["bulk", "ours"] = _bulk(served, probe, ours.bulk_rows)
        if (ratio := _explain(ours, served, probe)) is not None:
            found["explain", "ours"] = ratio
        return found


def _load(ours: Ours, served: Served, request: bytes, label: str) -> dict[str, Any]:
    return under_load(served, ours.generator, request, labelled(label), ours.seconds)


def wait_for(served: Served, probes: Mapping[str, Probe]) -> None:
    """Until every process has looked at MLflow, and all pipelines answer."""
    until = time.monotonic() + START_S
    while not requests.get(f"{served.url}/readyz", timeout=START_S).ok:
        if time.monotonic() > until:
            raise NotServing("it was never ready")
        time.sleep(0.05)
    for kind, probe in probes.items():
        request = ask(served.url, probe.pipeline, probe.usual, TYPES[kind])
        while once(served.url, request, START_S).status != 200:
            if time.monotonic() > until:
                raise NotServing(f"{probe.pipeline} never answered")
            time.sleep(0.05)


def _peak(served: Served, probe: Probe) -> float:
    """MB that one large picture adds at its peak to what was resident."""
    before = served.begin_peak()
    answer = once(served.url, ask(served.url, probe.pipeline, probe.large, "image/jpeg"), START_S)
    if not labelled(probe.large_label)(answer.body):
        raise NotServing("the picture of 12 megapixels gets another label")
    return round(served.peak_mb() - before, 1)


def _bulk(served: Served, probe: Probe, rows: int) -> dict[str, Any]:
    """One call with so many rows; CSV comes back too. The median of three after a first, which counts if it is long.

    No rows a second, and the reason, where there is no such answer: the rest of a long run is worth telling.
    """
    csv = csv_of(probe.contract, rows)
    request = request_bytes(served.url, f"/{probe.pipeline}", csv, "text/csv", "text/csv")
    times: list[float] = []
    for _ in range(4):
        began = time.perf_counter()
        try:
            answer = once(served.url, request, BULK_S)
        except OSError as error:
            return {"rows_per_s": 0, "rows": rows, "failed": f"{type(error).__name__}: {error}"}
        times.append(time.perf_counter() - began)
        lines = answer.body.count(b"\n")
        if answer.status != 200 or lines != rows + 1:
            return {"rows_per_s": 0, "rows": rows, "failed": f"{answer.status}, {lines} lines: {answer.body[:300]!r}"}
        if times[-1] > LONG_S:
            break
    seconds = median(times[1:] or times)
    return {"rows_per_s": round(rows / seconds), "rows": rows, "seconds": round(seconds, 3)}


def _explain(ours: Ours, served: Served, probe: Probe) -> dict[str, Any] | None:
    """How much longer one client waits for an answer with reasons; None as long as there are none (400)."""
    plain, asked = (
        ask(served.url, probe.pipeline, probe.usual, TYPES[probe.kind], query) for query in ("", "?explain=1")
    )
    if once(served.url, asked, START_S).status != 200:
        return None
    times = []
    for request in (plain, asked):
        ours.generator.measure(served.url, request, 1, min(0.5, ours.seconds / 4))
        times.append(ours.generator.measure(served.url, request, 1, ours.seconds)["p50_ms"])
    return {probe.kind: round(times[1] / times[0], 3)}
