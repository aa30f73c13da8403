"""How our server's answers change with what is asked of it: picture size, rows a call, pipelines, replicas."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.champions import Champions
from benchmarks.classify_ours import START_S, TYPES, Ours, wait_for
from benchmarks.probes import Probe, csv_of
from benchmarks.served import EVERY_S, NotServing, Served, once
from benchmarks.serving_ours import Mlflow, ask, classify, copy_pipelines, labelled
from benchmarks.table import print_table
from benchmarks.wire import request_bytes
from common.bundle import sign_bundle

SIZES = ((160, 120), (320, 240), (640, 480), (1280, 960), (2048, 1536), (4000, 3000))
ROWS = (1, 10, 100, 1000, 10_000, 100_000)
PIPELINES, REPLICAS = (1, 2, 4, 8), (1, 2, 4)
CLIENTS, LONGEST_S = 8, 300.0
Found = list[dict[str, Any]]


def run_growth(
    given: argparse.Namespace,
    ours: Ours,
    mlflow: Mlflow,
    champions: Champions,
    probes: Mapping[str, Probe],
    tell: Callable[[str], None],
) -> int:
    """All four, told as tables, as one JSON line and as charts."""
    found: dict[str, Found] = {}
    with ours.started(probes["image"], keep=True) as (served, _):
        tell("  the size of a picture ...")
        found["picture_size"] = _sizes(ours, served, probes["image"])
        tell("  rows in one call ...")
        found["rows_a_call"] = _rows(ours, served, probes["tabular"])
    tell("  the number of pipelines ...")
    found["pipelines"] = _pipelines(ours, mlflow, champions, probes, given)
    tell("  replicas ...")
    found["replicas"] = _replicas(ours, probes)
    for name, each in found.items():
        print(f"\n{name}")
        print_table(tuple(each[0]), [list(one.values()) for one in each])
    if given.charts is not None:
        from benchmarks.charts import draw_growth

        for path in draw_growth(found, given.charts):
            print(f"chart: {path}")
    if given.json:
        print(json.dumps(found))
    return 0


def _sizes(ours: Ours, served: Served, probe: Probe) -> Found:
    found = []
    picture = Image.open(io.BytesIO(probe.large)).convert("RGB")
    for width, height in SIZES:
        whole = io.BytesIO()
        picture.resize((width, height), Image.Resampling.LANCZOS).save(whole, "JPEG", quality=88)
        body = whole.getvalue()
        told = _asked(ours, served, ask(served.url, probe.pipeline, body, TYPES["image"]))
        size = {"width": width, "height": height, "megapixels": round(width * height / 1e6, 3), "bytes": len(body)}
        found.append({**size, **told})
    return found


def _rows(ours: Ours, served: Served, probe: Probe) -> Found:
    found = []
    for rows in ROWS:
        request = request_bytes(served.url, f"/{probe.pipeline}", csv_of(probe.contract, rows), "text/csv", "text/csv")
        told = _asked(ours, served, request, most_calls=2 if rows == ROWS[-1] else 1_000_000)
        found.append({"rows": rows, **told, "rows_per_s": round(rows * 1000 / told["p50_ms"])})
    return found


def _asked(ours: Ours, served: Served, request: bytes, most_calls: int = 1_000_000) -> dict[str, Any]:
    """One client's times and the CPU of a call."""
    once(served.url, request, LONGEST_S)
    before = served.cpu_s()
    told = ours.generator.measure(served.url, request, 1, ours.seconds, calls=most_calls, timeout_s=LONGEST_S)
    cpu = served.cpu_s() - before
    if told["errors"]:
        raise NotServing(f"{told['statuses']}: {told['body'][:200]}")
    return {"p50_ms": told["p50_ms"], "p99_ms": told["p99_ms"], "cpu_ms": round(cpu * 1000 / told["calls"], 3)}


def _pipelines(
    ours: Ours, mlflow: Mlflow, champions: Champions, probes: Mapping[str, Probe], given: argparse.Namespace
) -> Found:
    """Copies of both kinds under other names; the last of them to answer ends the start."""
    kinds, names = list(probes.values()), {}
    for number in range(PIPELINES[-1]):
        probe = kinds[number % len(kinds)]
        copy = probe.pipeline if number < len(kinds) else f"{probe.pipeline}-{number // len(kinds) + 1}"
        names[copy] = probe
        if copy not in champions.pipelines:
            mlflow.register(
                copy, _copied(champions.bundle(probe.pipeline), ours.work / "copies" / copy, copy, ours.key)
            )
    found = []
    for count in PIPELINES:
        served_ones = dict(list(names.items())[:count])
        files = {name: probe.pipeline for name, probe in served_ones.items()}
        folder = copy_pipelines(given.pipelines, files, ours.work / f"pipelines-{count}")
        scratch = f"scratch-{count}"
        for _ in range(2):  # the second time the scratch folder has them all
            served = classify(ours.work, ours.functions, folder, mlflow.url, ours.key, scratch)
            with _ending(served):
                seconds = _all_answer(served, served_ones)
                wait_for(served, {probe.kind: probe for probe in served_ones.values()})
                pss = served.pss_mb()
                first = next(iter(served_ones.values()))
                told = _asked(ours, served, ask(served.url, first.pipeline, first.usual, TYPES[first.kind]))
        shutil.rmtree(ours.work / scratch, ignore_errors=True)
        found.append({"pipelines": count, "cold_s": round(seconds, 3), "pss_mb": round(pss, 1), **told})
    return found


def _copied(bundle: Path, target: Path, name: str, key: str) -> Path:
    """The bundle under another name, signed again."""
    shutil.copytree(bundle, target)
    contract = json.loads((target / "contract.json").read_text(encoding="utf-8"))
    sign_bundle(target, {**{k: v for k, v in contract.items() if k not in ("files", "hmac")}, "pipeline": name}, key)
    return target


@contextlib.contextmanager
def _ending(served: Served) -> Any:
    try:
        yield served
    finally:
        served.stop()


def _all_answer(served: Served, ones: Mapping[str, Probe]) -> float:
    """Seconds from exec until every pipeline has answered; the last one is asked first."""
    *rest, (name, probe) = ones.items()
    request = ask(served.url, name, probe.usual, TYPES[probe.kind])
    seconds = served.start(request, labelled(probe.label), START_S)
    began = time.perf_counter() - seconds
    for other, probe in rest:
        request = ask(served.url, other, probe.usual, TYPES[probe.kind])
        while once(served.url, request, START_S).status != 200:
            seconds = time.perf_counter() - began
            if seconds > START_S:
                raise NotServing(f"{other} never answered")
            time.sleep(EVERY_S)
    return seconds


def _replicas(ours: Ours, probes: Mapping[str, Probe]) -> Found:
    """Clients are dealt out to the replicas one after another; all on this machine's cores."""
    found = []
    for count in REPLICAS:
        with contextlib.ExitStack() as stack:
            servers = []
            for _ in range(count):
                server = classify(ours.work, ours.functions, ours.pipelines, ours.mlflow, ours.key)
                stack.enter_context(_ending(server))
                probe = probes["image"]
                server.start(
                    ask(server.url, probe.pipeline, probe.usual, TYPES["image"]), labelled(probe.label), START_S
                )
                wait_for(server, probes)
                servers.append(server)
            figures: dict[str, Any] = {"replicas": count, "cores": len(os.sched_getaffinity(0))}
            for kind, probe in probes.items():
                request = ask(servers[0].url, probe.pipeline, probe.usual, TYPES[kind])
                urls = [server.url for server in servers]
                ours.generator.measure(urls, request, CLIENTS, ours.seconds / 4)
                told = ours.generator.measure(urls, request, CLIENTS, ours.seconds)
                figures |= {f"{kind}_rps_c8": told["per_second"], f"{kind}_p99_ms_c8": told["p99_ms"]}
            figures["pss_mb"] = round(sum(server.pss_mb() for server in servers), 1)
            found.append(figures)
    return found
