"""What a user does with a running system, by its HTTP contract alone: collect, train, classify."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import requests

from deployment.smoke import example_row
from local.demo_data import DemoData
from local.pictures import example_picture
from local.system import CannotStart, System

TRAIN_S, CHAMPION_S = 7200.0, 60.0
GIVE_UP_S, GIVE_UP_STRANGER_S = 120.0, 3600.0
TAKEN_UP, RESTART_S = 3, 30.0
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
        began = got = time.monotonic()
        fixed_s = self.demo.waits_s.get(name)
        waits, last, trouble = _waits(fixed_s), None, ""
        before = self._get(f"fetch-batch/{name}")
        while True:
            self._alive()
            asked = time.monotonic()
            result = self._post(f"fetch-batch/{name}", {})["results"][0]
            if result["status"] == "complete":
                break
            if result["status"] == "source-unavailable":
                if result["message"] != trouble:
                    trouble = result["message"]
                    _say(f"{name}: the source is not available: {trouble}")
                if time.monotonic() - got > (GIVE_UP_S if fixed_s else GIVE_UP_STRANGER_S):
                    raise CannotStart(f"the source of {name} gave nothing for too long: {trouble}")
            elif result["status"] == "collected":
                got = time.monotonic()
                if result["batch"] != last:
                    last, waits = result["batch"], _waits(fixed_s)
                    stored, bad = result["stored"], result["quarantined"]
                    _say(
                        f"{name}: batch {last}, {stored} samples stored" + (f", {bad} rows quarantined" if bad else "")
                    )
            time.sleep(max(0.05, next(waits) - (time.monotonic() - asked)))
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
            "version": None,
            "decision": "skipped",
            "metrics": None,
            "seconds": {"collect": round(time.monotonic() - began, 1), "train": 0.0, "classify": 0.0},
        }

    def train(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """Post to train and follow it with a progress bar; version, decision, metrics."""
        if not told["examples"]:
            _say(f"{name}: no examples, so nothing is trained")
            return {}
        began = time.monotonic()
        bar = Bar(name)
        state = self._follow(name, bar, began)
        for _ in range(TAKEN_UP):
            if state["state"] != "interrupted":
                break
            _say(f"{name}: {state['reason']}")
            state = self._follow(name, bar, began)
        bar.end()
        if state["state"] != "finished":
            raise CannotStart(f"the training of {name} ended as {state['state']}: {state['reason']}")
        _say(f"{name}: version {state['version']} {state['decision']}: {state['reason']}")
        metrics = {key: round(state["metrics"][key], 4) for key in ("accuracy", "macro_f1")}
        seconds = {**told["seconds"], "train": round(time.monotonic() - began, 1)}
        return {"version": state["version"], "decision": state["decision"], "metrics": metrics, "seconds": seconds}

    def _follow(self, name: str, bar: Bar, began: float) -> dict[str, Any]:
        """Ask train (or find it running), then its state once it runs no more."""
        token = {"Authorization": f"Bearer {self.system.token()}"}
        answer = self._send("POST", f"train/{name}", json={"force": False}, headers=token)
        if answer.status_code not in (202, 409):
            raise CannotStart(f"train/{name} answered {answer.status_code}: {answer.text[:300]}")
        while True:
            self._alive()
            state = self._get(f"train/{name}")
            bar.show(state["progress"], state["stage"])
            if state["state"] != "running":
                return state
            if time.monotonic() - began > TRAIN_S:
                raise CannotStart(f"the training of {name} did not end")
            time.sleep(0.5)

    def classify(self, name: str, told: dict[str, Any]) -> bool:
        """Classify one picture or row through the gateway; True if the answer came from a champion."""
        began = time.monotonic()
        if told["version"] is None:
            return True
        card = self._card(name, told)
        if card is None:
            _say(f"{name}: no champion to classify with")
            told["seconds"]["classify"] = round(time.monotonic() - began, 3)
            return False
        began = time.monotonic()
        if card["kind"] == "image":
            body, what = example_picture(self.system.environment["PETS_SOURCE"])
            answer = self.session.post(
                self._url(f"classify/{name}"), data=body, headers={"Content-Type": "image/jpeg"}, timeout=30
            )
        else:
            row = example_row(card)
            what = "a row"
            answer = self.session.post(self._url(f"classify/{name}"), json=row, timeout=30)
        told["seconds"]["classify"] = round(time.monotonic() - began, 3)
        if answer.status_code != 200:
            _say(f"{name}: classify answered {answer.status_code}: {answer.text[:300]}")
            return False
        found = answer.json()["predictions"][0]
        sure = f"{found['confidence']:.1%} ({found['status']}, version {card['model']['version']})"
        _say(f"{name}: {what} is {found['title']['en']!r}, {sure}")
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
        return self._answer(self._send("GET", path), path)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._answer(self._send("POST", path, json=body), path)

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:
        """One call; while a function is started again the gateway answers 502, so it is asked again for a while."""
        until = time.monotonic() + RESTART_S
        while True:
            answer = self.session.request(method, self._url(path), timeout=60, **request)
            if answer.status_code not in (502, 503) or time.monotonic() > until:
                return answer
            self._alive()
            time.sleep(0.5)

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


def _waits(fixed_s: float | None) -> Iterator[float]:
    """Seconds from one fetch to the next: of our own sources a window; a stranger's is asked less and less often."""
    wait = fixed_s or FIRST_WAIT_S
    while True:
        yield wait
        if fixed_s is None:
            wait = min(2 * wait, LONGEST_WAIT_S)


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
