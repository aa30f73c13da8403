"""What a user does with a running system, by its HTTP contract alone: collect, train, classify."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import requests

from deployment.smoke import example_row
from local.demo_data import DemoData
from local.pictures import collected_picture
from local.system import CannotStart, System

TRAIN_S, CHAMPION_S = 7200.0, 60.0
# A source that gives nothing is asked for so long: the demo's own, one that never gave anything, one that did before.
GIVE_UP_OWN_S, GIVE_UP_FIRST_S, GIVE_UP_S = 120.0, 15.0, 3600.0
MOST_REASONS = 3
TAKEN_UP, RESTART_S = 3, 30.0
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 60.0


class PipelineFailed(CannotStart):
    """What keeps one pipeline from being collected, trained or served; the others go on."""


class Journey:
    """Talks to the gateway; progress goes to standard error.

    `collect`, `train` and `classify` write what they come to into `found`, as `nothing_yet` begins it, and raise
    PipelineFailed.
    """

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

    def collect(self, name: str, found: dict[str, Any]) -> None:
        """Post to fetch-batch until the collection is complete or its source is given up; counts and seconds."""
        began = time.monotonic()
        before = self._get(f"fetch-batch/{name}")
        trouble = self._fetch_all(name)
        state = self._get(f"fetch-batch/{name}")
        found |= {key: state[key] for key in ("examples", "samples")} | {"batches": len(state["batches"])}
        found["seconds"]["collect"] = round(time.monotonic() - began, 1)
        if trouble:
            raise PipelineFailed(trouble)
        if before["samples"] and state["samples"] == before["samples"]:
            say(f"{name}: nothing new to collect, all {state['samples']} samples were stored before")
        made_up = " of made-up data" if (state["source"] or {}).get("made_up") else ""
        say(f"{name}: {state['message']}: {state['examples']} examples{made_up} in {state['samples']} samples")
        if not state["examples"]:
            reasons = [_rejected(one) for one in state["quarantine"]["reasons"][:MOST_REASONS]]
            raise PipelineFailed("; ".join(["there are no examples to learn from", *(reasons or [state["message"]])]))

    def _fetch_all(self, name: str) -> str:
        """Post to fetch-batch until it answers `complete`; else why its source was given up."""
        got, patience_s = time.monotonic(), GIVE_UP_FIRST_S
        fixed_s = self.demo.waits_s.get(name)
        if fixed_s:
            patience_s = GIVE_UP_OWN_S
        waits, last, trouble = seconds_between(fixed_s), None, ""
        while True:
            self._alive()
            asked = time.monotonic()
            result = self._post(f"fetch-batch/{name}", json={})["results"][0]
            if result["status"] == "complete":
                return ""
            if result["status"] == "source-unavailable":
                if result["message"] != trouble:
                    trouble = result["message"]
                    say(f"{name}: the source is not available: {trouble}")
                if time.monotonic() - got > patience_s:
                    return f"its source gave nothing for {patience_s:.0f} s: {trouble}"
            elif result["status"] == "collected":
                got = time.monotonic()
                if not fixed_s:
                    patience_s = GIVE_UP_S
                if result["batch"] != last:
                    last, waits = result["batch"], seconds_between(fixed_s)
                    stored, bad = result["stored"], result["quarantined"]
                    say(f"{name}: batch {last}, {stored} samples stored" + (f", {bad} rows quarantined" if bad else ""))
            time.sleep(max(0.05, next(waits) - (time.monotonic() - asked)))

    def train(self, name: str, found: dict[str, Any]) -> None:
        """Post to train and follow it with a progress bar; version, decision, metrics."""
        began = time.monotonic()
        bar = Bar(name)
        state = self._follow(name, bar, began)
        for _ in range(TAKEN_UP):
            if state["state"] != "interrupted":
                break
            say(f"{name}: {state['reason']}")
            state = self._follow(name, bar, began)
        bar.end()
        found["seconds"]["train"] = round(time.monotonic() - began, 1)
        if state["state"] != "finished":
            raise PipelineFailed(f"its training ended as {state['state']}: {state['reason']}")
        say(f"{name}: version {state['version']} {state['decision']}: {state['reason']}")
        metrics = {key: round(state["metrics"][key], 4) for key in ("accuracy", "macro_f1")}
        found |= {"version": state["version"], "decision": state["decision"], "metrics": metrics}

    def _follow(self, name: str, bar: Bar, began: float) -> dict[str, Any]:
        """Ask train (or find it running), then its state once it runs no more."""
        token = {"Authorization": f"Bearer {self.system.token()}"}
        answer = self._send("POST", f"train/{name}", json={"force": False}, headers=token)
        if answer.status_code not in (202, 409):
            raise PipelineFailed(_problem(answer, f"train/{name}"))
        while True:
            self._alive()
            state = self._get(f"train/{name}")
            bar.show(state["progress"], state["stage"])
            if state["state"] != "running":
                return state
            if time.monotonic() - began > TRAIN_S:
                raise PipelineFailed(f"its training did not end in {TRAIN_S:.0f} s")
            time.sleep(0.5)

    def classify(self, name: str, found: dict[str, Any]) -> None:
        """Classify one collected picture, or a row, through the gateway."""
        card = self._card(name, found)
        if card is None:
            raise PipelineFailed("no champion answers")
        request: dict[str, Any] = {"json": example_row(card)} if card["kind"] == "tabular" else {}
        what = "a row"
        if not request:
            picture = collected_picture(self.system.home / "store", name)
            if picture is None:
                raise PipelineFailed("no picture is stored")
            body, what, kind = picture
            request = {"data": body, "headers": {"Content-Type": kind}}
        began = time.monotonic()
        answer = self._post(f"classify/{name}", **request)["predictions"][0]
        found["seconds"]["classify"] = round(time.monotonic() - began, 3)
        sure = f"{answer['confidence']:.1%} ({answer['status']}, version {card['model']['version']})"
        say(f"{name}: {what} is {answer['title']['en']!r}, {sure}")

    def _card(self, name: str, found: dict[str, Any]) -> dict[str, Any] | None:
        """The champion's model card, once classify has the version that was just promoted."""
        until = time.monotonic() + CHAMPION_S
        card = None
        while time.monotonic() < until:
            answer = self.session.get(self._url(f"classify/{name}"), timeout=30)
            if answer.status_code == 200:
                card = dict(answer.json())
                if found["decision"] != "promoted" or card["model"]["version"] == found["version"]:
                    return card
            elif found["decision"] in ("kept", "incomparable"):
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

    def _post(self, path: str, **request: Any) -> dict[str, Any]:
        return self._answer(self._send("POST", path, **request), path)

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:
        """One call; while a function is started again the gateway answers 502, so it is asked again for a while."""
        until = time.monotonic() + RESTART_S
        while True:
            try:
                answer = self.session.request(method, self._url(path), timeout=60, **request)
            except requests.RequestException as error:
                raise PipelineFailed(f"{path} gave no answer: {type(error).__name__}") from None
            if answer.status_code not in (502, 503) or time.monotonic() > until:
                return answer
            self._alive()
            time.sleep(0.5)

    def _answer(self, answer: requests.Response, path: str) -> dict[str, Any]:
        if answer.status_code != 200:
            raise PipelineFailed(_problem(answer, path))
        return dict(answer.json())


def nothing_yet() -> dict[str, Any]:
    """What is known of a pipeline before anything was done; `reason` says why it is not served."""
    counts: dict[str, Any] = dict.fromkeys(("examples", "samples", "batches"), 0)
    seconds = dict.fromkeys(("collect", "train", "classify"), 0.0)
    return counts | {"version": None, "decision": "skipped", "metrics": None, "seconds": seconds, "reason": None}


def _problem(answer: requests.Response, path: str) -> str:
    """What a function says of a call that it refused."""
    try:
        detail = answer.json()["detail"]
    except (requests.JSONDecodeError, KeyError, TypeError):
        detail = answer.text[:300]
    return f"{path} answered {answer.status_code}: {detail}"


def _rejected(reason: dict[str, Any]) -> str:
    return f"{reason['field']}: {reason['detail']} ({reason['count']} times)"


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


def seconds_between(fixed_s: float | None) -> Iterator[float]:
    """Seconds from one fetch to the next: of our own sources a window; a stranger's is asked less and less often."""
    wait = fixed_s or FIRST_WAIT_S
    while True:
        yield wait
        if fixed_s is None:
            wait = min(2 * wait, LONGEST_WAIT_S)


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
