"""A system started by `scripts/demo`, shared by the tests of this folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from gateways import why_no_openfaas
from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
START_S, ANSWER_S = 900, 120
# Enough epochs for an accuracy well above chance.
REAL_EPOCHS, MADE_UP_EPOCHS = "covertype=4,pets=8", "covertype=4,pets=14"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of a real gateway if there is none; pytest_terminal_summary says why."""
    deselected = [item for item in items if item.get_closest_marker("openfaas")] if why_no_openfaas() else []
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if why := why_no_openfaas():
        terminalreporter.write_line(f"Tests on a real OpenFaaS gateway are deselected: {why} (CONTRIBUTING.md)")


@dataclass
class Demo:
    """A running scripts/demo: its process, its port, and the lines of its stderr."""

    process: subprocess.Popen[str]
    home: Path
    port: int
    options: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"{self.gateway}/function/{path}"

    def token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.home / 'secrets' / 'train-token').read_text().strip()}"}

    def line_with(self, text: str) -> str:
        return next(line for line in self.lines if text in line)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(ANSWER_S)
        assert self.reader is not None and self.process.stderr is not None
        self.reader.join(ANSWER_S)
        self.process.stderr.close()
        return code


def demo_command(home: Path, port: int, *options: str) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/scripts:{ROOT}/functions"}
    return [sys.executable, "-m", "local.demo", "--home", str(home), "--port", str(port), *options], environment


def start_demo(home: Path, port: int, *options: str, **extra: str) -> Demo:
    """Start the demo and wait until it serves."""
    command, environment = demo_command(home, port, *options)
    process = subprocess.Popen(command, env={**environment, **extra}, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    demo = Demo(process, home, port, options, extra)
    serving = threading.Event()

    def read_lines() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            demo.lines.append(line.rstrip())
            if "Ctrl-C stops everything" in line:
                serving.set()

    demo.reader = threading.Thread(target=read_lines, daemon=True)
    demo.reader.start()
    until = time.monotonic() + START_S
    while not serving.wait(0.5):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail("the demo does not serve:\n" + "\n".join(demo.lines))
    return demo


@pytest.fixture(scope="session")
def real_data() -> dict[str, Path]:
    """Real rows and photographs beside the project, if they exist; else the demo makes up its data."""
    data = {}
    if (SHARED / "covertype" / "covertype.csv.gz").exists():
        data["csv"] = SHARED / "covertype" / "covertype.csv.gz"
    if (SHARED / "pets" / "train").is_dir():
        data["pets"] = SHARED / "pets" / "train"
    return data


def pipelines_with_a_low_gate(folder: Path) -> Path:
    """The shipped pipelines with a gate that any first version passes: a busy machine may train a worse one."""
    folder.mkdir()
    for file in (ROOT / "functions" / "pipelines").glob("*.toml"):
        (folder / file.name).write_text(re.sub(r"(?m)^floor = .*$", "floor = 0.01", file.read_text()))
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, real_data: dict[str, Path]) -> Iterator[Demo]:
    """A demo that has collected, trained and serves, on real data if they exist."""
    folder = tmp_path_factory.mktemp("demo")
    options = ["--csv", str(real_data["csv"]), "--window", "1"] if "csv" in real_data else ["--window", "1"]
    extra = {
        "SABUESO_EPOCHS": REAL_EPOCHS if real_data else MADE_UP_EPOCHS,
        "SABUESO_PIPELINES": str(pipelines_with_a_low_gate(folder / "pipelines")),
    }
    if "pets" in real_data:
        extra["PETS_SOURCE"] = str(real_data["pets"])
    running = start_demo(folder / "home", free_port(), *options, **extra)
    yield running
    if running.process.poll() is None:
        running.stop()


def wait_for(url: str, holds: Callable[[Any], bool], seconds: float = 300) -> Any:
    """The first answer of a GET for which `holds` is true."""
    until = time.monotonic() + seconds
    while not holds(body := requests.get(url, timeout=30).json()):
        if time.monotonic() > until:
            pytest.fail(f"{url}: not within {seconds} s; last answer: {body}")
        time.sleep(0.2)
    return body
