"""What a user does with a running system, over HTTP only: collect, train, classify."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import requests

from deployment.smoke import example_row
from local.demo_data import DemoData
from local.pictures import collected_picture
from local.system import StartFailed, System

TRAIN_S, CHAMPION_S = 7200.0, 60.0
# When to give up a source without data: the demo's own, one that never delivered, one that delivered before.
GIVE_UP_OWN_S, GIVE_UP_FIRST_S, GIVE_UP_S = 120.0, 15.0, 3600.0
MAX_REASONS = 3
MAX_RESUMES, RESTART_S = 3, 30.0
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 60.0


class PipelineFailed(StartFailed):
    """Why one pipeline can't be collected, trained or served; the others continue."""


class Walkthrough:
    """Calls the gateway; progress goes to stderr.

    `collect`, `train` and `classify` write to `result` (see `new_result`) and raise PipelineFailed.
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
        return [pipeline["name"] for pipeline in self._get("classify")["pipelines"]]

    def collect(self, name: str, result: dict[str, Any]) -> None:
        """Post to fetch-batch until the collection is complete or the source fails for too long."""
        began = time.monotonic()
        before = self._get(f"fetch-batch/{name}")
        failure = self._fetch_all(name)
        state = self._get(f"fetch-batch/{name}")
        result |= {key: state[key] for key in ("examples", "samples")} | {"batches": len(state["batches"])}
        result["seconds"]["collect"] = round(time.monotonic() - began, 1)
        if failure:
            raise PipelineFailed(failure)
        if before["samples"] and state["samples"] == before["samples"]:
            log(f"{name}: nothing new to collect; all {state['samples']} samples are stored already")
        made_up = " of made-up data" if (state["source"] or {}).get("made_up") else ""
        log(f"{name}: {state['message']}: {state['examples']} examples{made_up} in {_samples(state['samples'])}")
        if not state["examples"]:
            reasons = [_rejected(reason) for reason in state["quarantine"]["reasons"][:MAX_REASONS]]
            raise PipelineFailed("; ".join(["no examples to learn from", *(reasons or [state["message"]])]))

    def _fetch_all(self, name: str) -> str:
        """Post to fetch-batch until it answers `complete`; the reason if the source was given up."""
        last_data, give_up_s = time.monotonic(), GIVE_UP_FIRST_S
        fixed_s = self.demo.waits_s.get(name)
        if fixed_s:
            give_up_s = GIVE_UP_OWN_S
        waits, last_batch, problem = seconds_between(fixed_s), None, ""
        while True:
            self._check_alive()
            asked_at = time.monotonic()
            answer = self._post(f"fetch-batch/{name}", json={})["results"][0]
            if answer["status"] == "complete":
                return ""
            if answer["status"] == "source-unavailable":
                if answer["message"] != problem:
                    problem = answer["message"]
                    log(f"{name}: the source is unavailable: {problem}")
                if time.monotonic() - last_data > give_up_s:
                    return f"no data from its source for {give_up_s:.0f} s: {problem}"
            elif answer["status"] == "collected":
                last_data = time.monotonic()
                if not fixed_s:
                    give_up_s = GIVE_UP_S
                if answer["batch"] != last_batch:
                    last_batch, waits = answer["batch"], seconds_between(fixed_s)
                    stored, bad = answer["stored"], answer["quarantined"]
                    log(
                        f"{name}: batch {last_batch}, {_samples(stored)} stored"
                        + (f", {bad} rows quarantined" if bad else "")
                    )
            time.sleep(max(0.05, next(waits) - (time.monotonic() - asked_at)))

    def train(self, name: str, result: dict[str, Any]) -> None:
        """Post to train and show its progress; version, decision, metrics."""
        began = time.monotonic()
        bar = ProgressBar(name)
        state = self._follow(name, bar, began)
        for _ in range(MAX_RESUMES):
            if state["state"] != "interrupted":
                break
            log(f"{name}: {state['reason']}")
            state = self._follow(name, bar, began)
        bar.end()
        result["seconds"]["train"] = round(time.monotonic() - began, 1)
        if state["state"] != "finished":
            raise PipelineFailed(f"its training ended with {state['state']}: {state['reason']}")
        decision = "not promoted" if state["decision"] == "kept" else state["decision"]
        log(f"{name}: version {state['version']} {decision}: {state['reason']}")
        metrics = {key: round(state["metrics"][key], 4) for key in ("accuracy", "macro_f1")}
        result |= {"version": state["version"], "decision": state["decision"], "metrics": metrics}

    def _follow(self, name: str, bar: ProgressBar, began: float) -> dict[str, Any]:
        """Start a training, or join a running one; returns the final state."""
        token = {"Authorization": f"Bearer {self.system.token()}"}
        answer = self._send("POST", f"train/{name}", json={"force": False}, headers=token)
        if answer.status_code not in (202, 409):
            raise PipelineFailed(_problem(answer, f"train/{name}"))
        while True:
            self._check_alive()
            state = self._get(f"train/{name}")
            bar.show(state["progress"], state["stage"])
            if state["state"] != "running":
                return state
            if time.monotonic() - began > TRAIN_S:
                raise PipelineFailed(f"its training did not end within {TRAIN_S:.0f} s")
            time.sleep(0.5)

    def classify(self, name: str, result: dict[str, Any]) -> None:
        """Classify one collected picture, or a row, through the gateway."""
        card = self._card(name, result)
        if card is None:
            raise PipelineFailed("no champion serves")
        request: dict[str, Any] = {"json": example_row(card)} if card["kind"] == "tabular" else {}
        what = "a row"
        if not request:
            picture = collected_picture(self.system.home / "store", name)
            if picture is None:
                raise PipelineFailed("no picture is stored")
            body, what, media_type = picture
            request = {"data": body, "headers": {"Content-Type": media_type}}
        began = time.monotonic()
        answer = self._post(f"classify/{name}", **request)["predictions"][0]
        result["seconds"]["classify"] = round(time.monotonic() - began, 3)
        details = f"{answer['confidence']:.1%} ({answer['status']}, version {card['model']['version']})"
        log(f"{name}: {what} is {answer['title']['en']!r}, {details}")

    def _card(self, name: str, result: dict[str, Any]) -> dict[str, Any] | None:
        """The champion's model card, once classify serves the version that was just promoted."""
        until = time.monotonic() + CHAMPION_S
        card = None
        while time.monotonic() < until:
            answer = self.session.get(self._url(f"classify/{name}"), timeout=30)
            if answer.status_code == 200:
                card = dict(answer.json())
                if result["decision"] != "promoted" or card["model"]["version"] == result["version"]:
                    return card
            elif result["decision"] in ("kept", "incomparable"):
                return card
            time.sleep(0.3)
        return card

    def _check_alive(self) -> None:
        if self.system.processes.broken is not None:
            raise StartFailed(self.system.processes.broken)

    def _url(self, path: str) -> str:
        return f"{self.system.gateway}/function/{path}"

    def _get(self, path: str) -> dict[str, Any]:
        return self._answer(self._send("GET", path), path)

    def _post(self, path: str, **request: Any) -> dict[str, Any]:
        return self._answer(self._send("POST", path, **request), path)

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:
        """One call. While a function restarts the gateway answers 502, so the call is repeated for 30 s."""
        until = time.monotonic() + RESTART_S
        while True:
            try:
                answer = self.session.request(method, self._url(path), timeout=60, **request)
            except requests.RequestException as error:
                raise PipelineFailed(f"{path} did not answer: {type(error).__name__}") from None
            if answer.status_code not in (502, 503) or time.monotonic() > until:
                return answer
            self._check_alive()
            time.sleep(0.5)

    def _answer(self, answer: requests.Response, path: str) -> dict[str, Any]:
        if answer.status_code != 200:
            raise PipelineFailed(_problem(answer, path))
        return dict(answer.json())


def new_result() -> dict[str, Any]:
    """The result of a pipeline before the first step; `reason` is why it is not served."""
    counts: dict[str, Any] = dict.fromkeys(("examples", "samples", "batches"), 0)
    seconds = dict.fromkeys(("collect", "train", "classify"), 0.0)
    return counts | {"version": None, "decision": "skipped", "metrics": None, "seconds": seconds, "reason": None}


def _samples(count: int) -> str:
    return "1 sample" if count == 1 else f"{count} samples"


def _problem(answer: requests.Response, path: str) -> str:
    """The message of a function that refused a call."""
    try:
        detail = answer.json()["detail"]
    except (requests.JSONDecodeError, KeyError, TypeError):
        detail = answer.text[:300]
    return f"{path} answered {answer.status_code}: {detail}"


def _rejected(reason: dict[str, Any]) -> str:
    return f"{reason['field']}: {reason['detail']} ({reason['count']} times)"


class ProgressBar:
    """A progress bar on a terminal; elsewhere a line per 10 %."""

    def __init__(self, name: str) -> None:
        self.name, self.tenth, self.is_terminal = name, -1, sys.stderr.isatty()

    def show(self, progress: float, stage: str) -> None:
        full = int(progress * 30)
        line = f"  {self.name:<10} [{'#' * full}{'.' * (30 - full)}] {progress:4.0%}  {stage}"
        if self.is_terminal:
            print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)
        elif int(progress * 10) > self.tenth:
            self.tenth = int(progress * 10)
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.is_terminal:
            print(file=sys.stderr)


def seconds_between(fixed_s: float | None) -> Iterator[float]:
    """Seconds between two fetches: fixed for our own sources; for others they double, up to a minute."""
    wait = fixed_s or FIRST_WAIT_S
    while True:
        yield wait
        if fixed_s is None:
            wait = min(2 * wait, LONGEST_WAIT_S)


def log(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
