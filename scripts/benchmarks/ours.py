"""classify with the environment of stack.yml, and the bundles in its scratch folder."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.calls import Case, ours, post
from benchmarks.server import Server, free_port
from benchmarks.wrk import MeasurementFailed
from common.inference.bundle import Bundle
from common.inference.contract import Contract
from local.stack import local_environment, read_stack

FLOOR_CALLS = 200
NO_MLFLOW = "http://127.0.0.1:9"  # not needed: the bundles are in the scratch folder


class Ours:
    """The folders of classify; each measurement starts a new server on them."""

    def __init__(self, work: Path, functions: Path, pipelines: Path, bundles: Mapping[str, Path], key: str) -> None:
        self.work, self.functions = work, functions.resolve()
        for folder in ("pipelines", "secrets"):
            (work / folder).mkdir(mode=0o700)
        for name, bundle in bundles.items():
            home = work / "scratch" / "bundles" / name
            shutil.copytree(bundle, home / "1")
            (home / "kept-version").write_text("1", encoding="utf-8")
            shutil.copy(pipelines / f"{name}.toml", work / "pipelines")
        (work / "secrets" / "bundle-key").write_text(key, encoding="utf-8")

    def server(self, workers: int) -> Server:
        function = next(function for function in read_stack({}) if function.name == "classify")
        settings = {"FUNCTION": "classify", "SABUESO_WORKERS": str(workers), "SABUESO_STORE": ""}
        settings |= {"SABUESO_SCRATCH": str(self.work / "scratch"), "SABUESO_PIPELINES": str(self.work / "pipelines")}
        settings |= {"MLFLOW_TRACKING_URI": NO_MLFLOW, "MLFLOW_TRACKING_USERNAME": ""}
        port = free_port()
        environment = local_environment(function, os.environ, port, self.work / "secrets", settings)
        return Server([sys.executable, str(self.functions / "server.py")], environment, self.work, port)

    def rows_per_s(self, workers: int, case: Case, rows: int) -> float:
        """Rows per second of one CSV, sent to a warm server. Raises MeasurementFailed."""
        csv = csv_of(case.contract, rows)
        with self.server(workers) as server:
            server.start(ours(case))
            began = time.perf_counter()
            lines = post(f"{server.url}/{case.pipeline}", csv, "text/csv", "text/csv").count(b"\n")
            seconds = time.perf_counter() - began
        if lines != rows + 1:
            raise MeasurementFailed(f"a CSV of {rows} rows was answered with {lines} lines")
        return rows / seconds


def floor_ms(bundle: Bundle, picture: bytes) -> float:
    """CPU milliseconds of a picture for decoder and network alone, in a loop."""
    for _ in range(FLOOR_CALLS // 5):
        bundle.predict([picture])
    began = time.process_time()
    for _ in range(FLOOR_CALLS):
        bundle.predict([picture])
    return 1000 * (time.process_time() - began) / FLOOR_CALLS


def csv_of(contract: Contract, rows: int) -> bytes:
    """Rows with a header, drawn from the example values of the columns."""
    generator = np.random.default_rng(0)
    columns = [generator.choice(np.array(column.examples), rows).astype(str) for column in contract.columns]
    lines = [",".join(column.name for column in contract.columns), *map(",".join, zip(*columns, strict=True)), ""]
    return "\n".join(lines).encode()
