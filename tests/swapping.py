"""Champions that change while eight clients send requests."""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from conftest import HERE, SHIPPED, wait_until
from deployed import Function
from flowers import draw, encode
from ports import free_port
from serving import ROW, signed_again

CLIENTS = 8
INPUTS = {
    "flowers": [(json.dumps({**ROW, "petal": petal}).encode(), "application/json") for petal in (11.5, 40.0, 90.0)],
    "pets": [(encode(draw(label, number)), "image/png") for number, label in enumerate(("cat", "dog"))],
}


class Clients:
    """Send rows and pictures until `done`; `wrong` collects answers that differ from those of their version."""

    def __init__(self, url: str) -> None:
        self.url, self.done = url, threading.Event()
        self.expected: dict[tuple[str, int, str], object] = {}
        self.wrong: list[str] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        with requests.Session() as session:
            while not self.done.is_set():
                number += 1
                pipeline = ("flowers", "pets")[number % 2]
                place = number % len(INPUTS[pipeline])
                version, answer = predict(session, self.url, pipeline, place)
                self.counts[pipeline, version] += 1
                if answer != self.expected.get((pipeline, place, version)):
                    self.wrong.append(f"{pipeline} {place} {version}: {answer}")


def predict(session: requests.Session, url: str, pipeline: str, place: int) -> tuple[str, object]:
    body, content_type = INPUTS[pipeline][place]
    answer = session.post(f"{url}/{pipeline}", body, headers={"Content-Type": content_type}, timeout=30)
    if answer.status_code != 200:
        return "none", answer.text
    return answer.json()["model"]["version"], answer.json()["predictions"]


def answer_of(version: str, url: str, pipeline: str, place: int) -> object:
    """The answer of a worker that serves that version."""
    answers: list[tuple[str, object]] = []
    with requests.Session() as session:
        wait_until(lambda: answers.append(predict(session, url, pipeline, place)) or answers[-1][0] == version)
    return answers[-1][1]


def serves(url: str, version: str) -> bool:
    """Whether every worker does, judged by six connections."""
    answers = [requests.get(f"{url}/", timeout=10).json()["pipelines"] for _ in range(6)]
    return {one["version"] for pipelines in answers for one in pipelines} == {version}


@dataclass
class Loaded:
    """A replica under the constant load of `clients`."""

    function: Function
    clients: Clients
    mlflow: Any

    def change(self, version: str) -> None:
        """Make that version of both pipelines champion, and wait until it serves."""
        for name in INPUTS:
            self.mlflow.aliases[name, "champion"] = version
        wait_until(lambda: serves(self.function.url, version))


@contextlib.contextmanager
def loaded(mlflow: Any, serve: Callable[..., Any], bundles: Path, secrets: Path, tmp_path: Path) -> Iterator[Loaded]:
    """Two versions of two pipelines, the first serving. At the end every answer must have been that of one version."""
    for name in INPUTS:
        # The second version has its labels in the opposite order, so that a mixed answer shows.
        contract = json.loads((bundles / name / "contract.json").read_text())
        second = signed_again(bundles / name, tmp_path / name, labels=contract["labels"][::-1])
        mlflow.register(name, "2", second, champion=False)
    folder = tmp_path / "pipelines"
    folder.mkdir()
    for own in (HERE / "pipelines", SHIPPED):
        for name in INPUTS:
            if (own / f"{name}.toml").exists():
                (folder / f"{name}.toml").write_bytes((own / f"{name}.toml").read_bytes())
    environment = {
        "FUNCTION": "classify",
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "SABUESO_SECRETS": str(secrets),
        "SABUESO_SCRATCH": str(tmp_path / "scratch"),
        "SABUESO_PIPELINES": str(folder),
        "SABUESO_REFRESH_S": "0.02",
        "MLFLOW_TRACKING_URI": serve(mlflow.app).url,
    }
    function = Function("classify", int(environment["PORT"]), environment, tmp_path)
    function.start()
    replica = Loaded(function, Clients(function.url), mlflow)
    try:
        for version in ("2", "1"):
            replica.change(version)
            for name, inputs in INPUTS.items():
                for place in range(len(inputs)):
                    replica.clients.expected[name, place, version] = answer_of(version, function.url, name, place)
        replica.clients.start()
        yield replica
        replica.clients.end()
    finally:
        function.stop()
    assert replica.clients.wrong == []


def swap(swaps: int, *world: Any) -> None:
    """Change both champions `swaps` times under load."""
    with loaded(*world) as replica:
        for number in range(swaps):
            replica.change("21"[number % 2])
    counts = replica.clients.counts
    assert sorted(counts) == [("flowers", "1"), ("flowers", "2"), ("pets", "1"), ("pets", "2")]
    assert min(counts.values()) > swaps / 2, counts
