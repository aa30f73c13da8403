"""What a user does with a running system, by its HTTP contract alone: collect, train, classify."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import requests

from local.demo_data import DemoData
from local.pictures import example_picture
from local.system import CannotStart, System

COLLECT_S, TRAIN_S, CHAMPION_S = 7200.0, 7200.0, 60.0
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 60.0


class Journey:
    """Talks to the gateway; progress goes to standard error."""

    def __init__(self, system: System, demo: DemoData) -> None:
        self.system, self.demo = system, demo
        self.session = requests.Session()
        self.session.trust_env = False

    def wait_until_ready(self) -> None:
        for name in ("fetch-batch", "train", "classify"):
            self.system.wait_for(f"{self.system.gateway}/function/{name}/healthz", name)

    def wait_for_mlflow(self) -> None:
        self.system.wait_for(f"{self.system.mlflow}/health", "mlflow")

    def pipelines(self) -> list[str]:
        return [one["name"] for one in self._get("classify")["pipelines"]]

    def collect(self, name: str) -> dict[str, Any]:
        """Post to fetch-batch until the collection is complete; counts and seconds."""
        began = time.monotonic()
        waits = _waits(name in self.demo.made_up or self.demo.arguments.csv is not None)
        last = -1
        before = self._get(f"fetch-batch/{name}")
        while time.monotonic() - began < COLLECT_S:
            self._alive()
            result = self._post(f"fetch-batch/{name}", {})["results"][0]
            if result["status"] == "complete":
                break
            if result["batch"] != last and result["batch"] is not None:
                last, waits = result["batch"], _waits(name in self.demo.made_up or self.demo.arguments.csv is not None)
                _say(f"{name}: batch {last}, {result['stored']} samples stored, {result['quarantined']} rows quarantined")
            elif result["status"] == "source-unavailable":
                _say(f"{name}: the source is not available: {result['message']}")
            time.sleep(next(waits))
        state = self._get(f"fetch-batch/{name}")
        new = state["samples"] - before["samples"]
        if before["samples"] and not new:
            _say(f"{name}: nothing new to collect, all {state['samples']} samples were stored before")
        made_up = " of made-up data" if (state["source"] or {}).get("made_up") else ""
        _say(f"{name}: {state['message']}: {state['examples']} examples{made_up} in {state['samples']} samples")
        return {
            "examples": state["examples"],
            "samples": state["samples"],
            "batches": len(state["batches"]),
            "seconds": {"collect": round(time.monotonic() - began, 1)},
        }

    def train(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """Post to train and follow it with a progress bar; version, decision, metrics."""
        if not told["examples"]:
            _say(f"{name}: no examples, so nothing is trained")
            return {"version": None, "decision": "skipped", "metrics": {"accuracy": 0.0, "macro_f1": 0.0}, "seconds": {**told["seconds"], "train": 0.0}}
        began = time.monotonic()
        token = {"Authorization": f"Bearer {self.system.token()}"}
        answer = self.session.post(self._url(f"train/{name}"), json={"force": False}, headers=token, timeout=30)
        if answer.status_code not in (202, 409):
            raise CannotStart(f"train/{name} answered {answer.status_code}: {answer.text[:300]}")
        bar = Bar(name)
        while True:
            self._alive()
            state = self._get(f"train/{name}")
            bar.show(state["progress"], state["stage"])
            if state["state"] != "running":
                break
            if time.monotonic() - began > TRAIN_S:
                raise CannotStart(f"the training of {name} did not end")
            time.sleep(0.5)
        bar.end()
        if state["state"] != "finished":
            raise CannotStart(f"the training of {name} ended as {state['state']}: {state['reason']}")
        _say(f"{name}: version {state['version']} {state['decision']}: {state['reason']}")
        metrics = {key: round(state["metrics"][key], 4) for key in ("accuracy", "macro_f1")}
        seconds = {**told["seconds"], "train": round(time.monotonic() - began, 1)}
        return {"version": state["version"], "decision": state["decision"], "metrics": metrics, "seconds": seconds}

    def classify(self, name: str, told: dict[str, Any]) -> bool:
        """Classify one picture or row through the gateway; True if the answer came from a champion."""
        began = time.monotonic()
        if told["version"] is None:
            told["seconds"]["classify"] = 0.0
            return True
        card = self._card(name, told)
        if card is None:
            _say(f"{name}: no champion to classify with")
            told["seconds"]["classify"] = round(time.monotonic() - began, 3)
            return False
        began = time.monotonic()
        if card["kind"] == "image":
            body, what = example_picture(self.system.environment["PETS_SOURCE"])
            answer = self.session.post(self._url(f"classify/{name}"), data=body, headers={"Content-Type": "image/jpeg"}, timeout=30)
        else:
            row = {key: one["examples"][0] for key, one in card["input"]["schema"]["properties"].items()}
            what = "a row"
            answer = self.session.post(self._url(f"classify/{name}"), json=row, timeout=30)
        told["seconds"]["classify"] = round(time.monotonic() - began, 3)
        if answer.status_code != 200:
            _say(f"{name}: classify answered {answer.status_code}: {answer.text[:300]}")
            return False
        found = answer.json()["predictions"][0]
        _say(f"{name}: {what} is {found['title']['en']!r}, {found['confidence']:.1%} ({found['status']}, version {card['model']['version']})")
        return True

    def _card(self, name: str, told: dict[str, Any]) -> dict[str, Any] | None:
        """The champion's model card, once classify has the version that was just promoted."""
        until = time.monotonic() + CHAMPION_S
        card = None
        while time.monotonic() < until:
            answer = self.session.get(self._url(f"classify/{name}"), timeout=30)
            if answer.status_code == 200:
                card = dict(answer.json())
                if told["decision"] != "promoted" or card["model"]["version"] == told["version"]:
                    return card
            elif told["decision"] in ("kept", "incomparable"):
                return card
            time.sleep(0.3)
        return card

    def _alive(self) -> None:
        if self.system.processes.broken is not None:
            raise CannotStart(self.system.processes.broken)

    def _url(self, path: str) -> str:
        return f"{self.system.gateway}/function/{path}"

    def _get(self, path: str) -> dict[str, Any]:
        return self._answer(self.session.get(self._url(path), timeout=60), path)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._answer(self.session.post(self._url(path), json=body, timeout=60), path)

    def _answer(self, answer: requests.Response, path: str) -> dict[str, Any]:
        if answer.status_code != 200:
            raise CannotStart(f"{path} answered {answer.status_code}: {answer.text[:300]}")
        return dict(answer.json())


class Bar:
    """A progress bar on a terminal; elsewhere a line for each tenth."""

    def __init__(self, name: str) -> None:
        self.name, self.tenth, self.live = name, -1, sys.stderr.isatty()

    def show(self, progress: float, stage: str) -> None:
        full = int(progress * 30)
        line = f"  {self.name:<10} [{'#' * full}{'.' * (30 - full)}] {progress:4.0%}  {stage}"
        if self.live:
            print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)
        elif int(progress * 10) > self.tenth:
            self.tenth = int(progress * 10)
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.live:
            print(file=sys.stderr)


def _waits(quick: bool) -> Iterator[float]:
    """Seconds between two fetches: short for our own data API; a stranger's is asked less and less often."""
    wait = 0.3 if quick else FIRST_WAIT_S
    while True:
        yield wait
        if not quick:
            wait = min(2 * wait, LONGEST_WAIT_S)


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
