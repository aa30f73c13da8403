"""Fixtures for every test: settings, secret files, a folder store, servers on free ports."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server
from xdist.scheduler import LoadScopeScheduling

from all_settings import AllSettings as Settings
from all_settings import read_settings
from common.storage.folder import FolderStore
from train.environment import ENVIRONMENT

# A shell's background job ignores SIGINT, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
# The slowest first, so that parallel test processes end at about the same time.
FOLDERS = ("nightly", "e2e", "integration", "browser", "unit", "contract")
SHIPPED = HERE.parent / "functions" / "pipelines"
TOKEN = {"Authorization": "Bearer the-train-token"}
KEY = "the-bundle-key"


def folder_of(nodeid: str) -> str:
    """The folder of tests/ that a test is in."""
    return nodeid.removeprefix("tests/").partition("/")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FOLDERS.index(folder_of(item.nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Run the tests of a file, or of a folder below tests/integration that shares servers, in one process."""

    class ByServers(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.count("/") < 3 else file.rpartition("/")[0]

    return ByServers(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report the minutes of each folder, summed over all processes."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[folder_of(report.nodeid)] += report.duration
    if len(seconds) > 1:
        minutes = ", ".join(f"{name} {took / 60:.1f}" for name, took in seconds.most_common())
        terminalreporter.write_line(f"Minutes of all processes: {minutes}")


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "train-token").write_text("the-train-token\n")
    (folder / "bundle-key").write_text(f"{KEY}\n")
    return folder


@pytest.fixture
def make_settings(tmp_path: Path, secrets: Path) -> Callable[..., Settings]:
    """make_settings("flowers", NAME="value"): settings with these pipelines, independent of the real environment."""

    def make(*pipelines: str, **environment: Any) -> Settings:
        folder = tmp_path / "pipelines"
        folder.mkdir(exist_ok=True)
        for name in pipelines:
            own = HERE / "pipelines" / f"{name}.toml"
            file = own if own.exists() else SHIPPED / f"{name}.toml"
            (folder / file.name).write_bytes(file.read_bytes())
        fixed = {
            "SABUESO_STORE": f"file://{tmp_path}/store",
            "SABUESO_SECRETS": str(secrets),
            "SABUESO_SCRATCH": str(tmp_path / "scratch"),
            "SABUESO_PIPELINES": str(folder),
            "SABUESO_TRIGGER": "off",
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
            "OPENFAAS_URL": "http://127.0.0.1:9",
        }
        return read_settings({**fixed, **{name: str(value) for name, value in environment.items()}})

    return make


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


class Served:
    """An app on a free loopback port, in a thread."""

    def __init__(self, app: Flask, host: str = "127.0.0.1") -> None:
        self._server = make_server(host, 0, app, threaded=True)
        self.url = f"http://{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the server; stopping it again does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], Served]]:
    with contextlib.ExitStack() as stack:

        def start(app: Flask) -> Served:
            served = Served(app)
            stack.callback(served.stop)
            return served

        yield start


@pytest.fixture(scope="session")
def once_a_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], Any]], Path]:
    """once_a_run(NAME, MAKE): a folder that MAKE fills once per test run, in one process; the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def make_once(name: str, make: Callable[[Path], Any]) -> Path:
        folder, unfinished = shared / name, shared / f"{name}.unfinished"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return make_once


@pytest.fixture(scope="session")
def bundles(once_a_run: Callable[[str, Callable[[Path], Any]], Path]) -> Path:
    """The folders `flowers` and `pets`, each a tiny real bundle."""
    return once_a_run("bundles", lambda folder: run_script("bundles.py", folder))


@pytest.fixture(scope="session")
def large_bundles(once_a_run: Callable[[str, Callable[[Path], Any]], Path]) -> Path:
    """Bundles of `pets` and `covertype` as large as those that serve."""
    return once_a_run("full-size", lambda folder: run_script("full_size.py", folder))


def run_script(name: str, *arguments: Any, seconds: float = 500) -> str:
    """Run a script of this folder; its standard output. For TensorFlow, which is slow and keeps its memory."""
    paths = os.pathsep.join([str(HERE.parent / "functions"), str(HERE.parent / "scripts"), str(HERE)])
    result = subprocess.run(
        [sys.executable, HERE / name, *map(str, arguments)],
        env={**ENVIRONMENT, **os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def printed_json(name: str, *arguments: Any, seconds: float = 500) -> Any:
    """Run a script of this folder; the JSON on its last line of output."""
    return json.loads(run_script(name, *arguments, seconds=seconds).splitlines()[-1])


def wait_until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Poll until the condition holds; fail after `seconds`."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "the condition did not hold in time"
        time.sleep(0.01)


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Run all calls concurrently; what each returns."""
    results: list[Any] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(place: int) -> None:
        start.wait()
        results[place] = calls[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def mlflow(tmp_path: Path, bundles: Path) -> Any:
    """A fake MLflow with version 1 of flowers and of pets as champions."""
    from fake_mlflow import FakeMlflow

    fake = FakeMlflow(tmp_path / "mlflow")
    for name in ("flowers", "pets"):
        fake.register(name, "1", bundles / name)
    return fake


@pytest.fixture
def serving(make_settings: Callable[..., Settings], mlflow: Any, serve: Callable[[Flask], Served]) -> Any:
    """A replica of classify that serves flowers and pets."""
    from serving import start

    served = serve(mlflow.app)
    settings = make_settings("flowers", "pets", MLFLOW_TRACKING_URI=served.url, SABUESO_STORE="")
    return start(settings, mlflow, served)


@pytest.fixture
def second(bundles: Path, tmp_path: Path) -> Path:
    """A second version of flowers that gives other answers: its labels have the opposite order."""
    from serving import signed_again

    labels = [
        {"value": "large", "en": "Large one", "es": "Grande"},
        {"value": "middle", "en": "Middle one", "es": "Mediana"},
        {"value": "small", "en": "Small one", "es": "Pequeña"},
    ]
    return signed_again(bundles / "flowers", tmp_path / "second", labels=labels)
