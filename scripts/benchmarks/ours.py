"""classify as stack.yml has it, with the champions' bundles in its scratch folder."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.questions import Question, ours, post
from benchmarks.server import Server, free_port
from benchmarks.wrk import Unmeasured
from common.bundle import Bundle
from local.stack import local_environment, read_stack

FLOOR_CALLS = 200
NO_MLFLOW = "http://127.0.0.1:9"  # the bundles are there: none is fetched


class Ours:
    """Its folders; a server is made out of them as often as is measured."""

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

    def rows_per_s(self, workers: int, question: Question, rows: int) -> float:
        """Of one CSV with so many rows, sent to a server that has just answered. Raises Unmeasured."""
        csv = csv_of(question.contract, rows)
        with self.server(workers) as server:
            server.start(ours(question))
            began = time.perf_counter()
            lines = post(f"{server.url}/{question.pipeline}", csv, "text/csv", "text/csv").count(b"\n")
            seconds = time.perf_counter() - began
        if lines != rows + 1:
            raise Unmeasured(f"{rows} rows in one CSV got {lines} lines")
        return rows / seconds


def floor_ms(bundle: Bundle, picture: bytes) -> float:
    """CPU milliseconds of a picture where nothing is done but what must be: decoder and network, in a bare loop."""
    for _ in range(FLOOR_CALLS // 5):
        bundle.predict([picture])
    began = time.process_time()
    for _ in range(FLOOR_CALLS):
        bundle.predict([picture])
    return 1000 * (time.process_time() - began) / FLOOR_CALLS


def csv_of(contract: Mapping[str, Any], rows: int) -> bytes:
    """So many rows with a header, each of values that the columns' examples have."""
    generator = np.random.default_rng(0)
    columns = [generator.choice(np.array(column["examples"]), rows).astype(str) for column in contract["columns"]]
    lines = [",".join(column["name"] for column in contract["columns"]), *map(",".join, zip(*columns, strict=True)), ""]
    return "\n".join(lines).encode()
