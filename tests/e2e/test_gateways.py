"""One contract for both worlds: stack.yml on the local gateway, and on a real OpenFaaS where OPENFAAS_URL names one.

The tests run in their order on one system: deployed, collecting by the clock, training, serving, and then broken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from asking import samples
from conftest import wait_until
from deployment.smoke import a_picture, example_row, smoke
from gateways import MIN_INTERVAL_S, LocalGateway, OnAGateway, Openfaas

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(1800)]

ENDED_S = 420
CLIENTS = 4
# Until a gateway has a replica again it says so in these ways, or closes the connection; none of them is an answer.
NOT_NOW = (404, 500, 502, 503, 504)


@pytest.fixture(scope="module", params=["local", pytest.param("openfaas", marks=pytest.mark.openfaas)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnAGateway]:
    """Deployed, and nothing asked yet."""
    kind = {"local": LocalGateway, "openfaas": Openfaas}[request.param]
    found = kind(tmp_path_factory.mktemp(request.param))
    try:
        found.start()
        yield found
    finally:
        found.stop()


def executions(world: OnAGateway, function: str, pipeline: str = "covertype") -> list[dict[str, Any]]:
    told = answered(world, "GET", f"{function}/{pipeline}").json()
    return list(told["executions" if function == "fetch-batch" else "history"])


def answered(world: OnAGateway, method: str, path: str, seconds: float = 120, **given: Any) -> requests.Response:
    """What a function itself answers, as a client gets it that asks again while there is no replica."""
    until, told = time.monotonic() + seconds, ""
    while time.monotonic() < until:
        try:
            answer = requests.request(method, world.url(path), timeout=10, **given)
        except requests.RequestException as error:
            told = type(error).__name__
        else:
            if answer.status_code not in NOT_NOW or answer.headers.get("X-Request-Id"):
                return answer
            told = f"{answer.status_code} {answer.text[:200]}"
        time.sleep(0.1)
    pytest.fail(f"{method} {path}: no answer in {seconds} s; last: {told}")


def train_ended(world: OnAGateway, identity: str, pipeline: str = "covertype") -> dict[str, Any]:
    """The record of that training once it has ended, in whatever way."""
    until = time.monotonic() + ENDED_S
    while time.monotonic() < until:
        for one in executions(world, "train", pipeline):
            if one["id"] == identity and one["state"] != "running":
                return one
        time.sleep(0.3)
    pytest.fail(f"training {identity} of {pipeline} did not end: {executions(world, 'train', pipeline)[:2]}")


def until_train(world: OnAGateway, holds: Any, what: str, pipeline: str = "covertype") -> dict[str, Any]:
    until = time.monotonic() + ENDED_S
    while time.monotonic() < until:
        told: dict[str, Any] = answered(world, "GET", f"train/{pipeline}").json()
        if holds(told):
            return told
        time.sleep(0.2)
    pytest.fail(f"train/{pipeline} never {what}: {told}")


def force(world: OnAGateway) -> str:
    """Start a training; one that a tick began before is waited for."""
    until = time.monotonic() + ENDED_S
    while time.monotonic() < until:
        answer = answered(world, "POST", "train/covertype", json={"force": True}, headers=world.token())
        if answer.status_code == 202:
            return str(answer.json()["id"])
        assert answer.status_code == 409, answer.text
        time.sleep(0.5)
    pytest.fail("a training runs for ever")


def test_the_functions_are_deployed_as_stack_yml_says(world: OnAGateway) -> None:
    listed = {one["name"]: one for one in world.listed()}
    assert {"fetch-batch", "train", "classify"} <= set(listed)
    for name, one in world.stack().items():
        assert listed[name]["replicas"] >= 1
        assert f"/{name}:" in listed[name]["image"]
        shown = listed[name].get("annotations") or {}
        assert shown.get("com.openfaas.ready.http.path") == one.annotations["com.openfaas.ready.http.path"]
        wait_until(lambda name=name: answered(world, "GET", f"{name}/readyz").status_code == 200, 120)
    assert smoke(world.gateway, no_model=True) == 0


def test_the_clock_calls_fetch_batch(world: OnAGateway) -> None:
    until = time.monotonic() + 150
    while not (found := executions(world, "fetch-batch")):
        assert time.monotonic() < until, "no tick in 150 s"
        time.sleep(0.5)
    assert found[0]["state"] in ("running", "finished")


def test_who_has_no_token_can_only_do_what_the_clock_does_and_no_more_often(world: OnAGateway) -> None:
    before, began = len(world.source.given), time.monotonic()
    told = [answered(world, "POST", "fetch-batch/covertype", data=b"{}").json()["results"][0] for _ in range(12)]
    took = time.monotonic() - began
    given = len(world.source.given) - before
    assert given <= took / MIN_INTERVAL_S + 2, (given, took)  # one of ours, perhaps one of the clock's
    assert "too-soon" in {one["status"] for one in told}
    for call in ("", "/cancel", "/promote", "/rollback"):
        assert answered(world, "POST", f"train/covertype{call}", json={}).status_code == 401
    wrong = {"Authorization": "Bearer not-it"}
    assert answered(world, "POST", "train/covertype", json={}, headers=wrong).status_code == 401


def test_a_collection_becomes_complete_and_nothing_is_lost(world: OnAGateway) -> None:
    until = time.monotonic() + 300
    while not answered(world, "GET", "fetch-batch/covertype").json()["complete"]:
        assert time.monotonic() < until, "the collection did not become complete"
        answered(world, "POST", "fetch-batch/covertype")
        time.sleep(0.5)
    told = answered(world, "GET", "fetch-batch/covertype").json()
    assert (told["lost_answers"], told["missing_batches"]) == (0, [])
    assert sorted(samples(world).values()) == sorted(set(world.source.given))


def test_a_complete_collection_is_trained_by_itself_and_serves(world: OnAGateway) -> None:
    first = until_train(world, lambda one: one["id"] is not None, "began")
    if first["state"] == "running":
        busy = answered(world, "POST", "train/covertype", json={}, headers=world.token())
        assert busy.status_code in (202, 409)  # it may have ended between the two calls
    done = train_ended(world, executions(world, "train")[-1]["id"])
    assert (done["state"], done["decision"]) == ("finished", "promoted")
    version = done["version"]
    until = time.monotonic() + 60
    while answered(world, "GET", "classify/covertype").status_code == 503:
        assert time.monotonic() < until
    card = answered(world, "GET", "classify/covertype").json()
    assert (card["model"]["version"], card["made_up"]) == (version, True)
    answer = answered(world, "POST", "classify/covertype", json=example_row(card)).json()
    assert answer["predictions"][0]["label"] in {one["value"] for one in card["labels"]}


def test_a_picture_is_classified(world: OnAGateway) -> None:
    until = time.monotonic() + 300
    while not executions(world, "train", "pets"):
        assert time.monotonic() < until, "the pictures were not trained"
        answered(world, "POST", "fetch-batch/pets")
        time.sleep(0.5)
    done = train_ended(world, executions(world, "train", "pets")[-1]["id"], "pets")
    assert (done["state"], done["decision"]) == ("finished", "promoted"), done["reason"]
    until = time.monotonic() + 60
    while answered(world, "GET", "classify/pets").status_code == 503:
        assert time.monotonic() < until, "the version does not serve"
    picture = {"data": a_picture(), "headers": {"Content-Type": "image/png"}}
    answer = answered(world, "POST", "classify/pets", **picture).json()
    assert answer["predictions"][0]["label"] in ("cat", "dog")
    assert smoke(world.gateway) == 0


def test_an_asynchronous_call_that_is_delivered_twice_trains_once_and_can_be_cancelled(world: OnAGateway) -> None:
    before = [one["id"] for one in executions(world, "train")]
    for _ in range(2):
        later = requests.post(world.later("train/covertype"), json={"force": True}, headers=world.token(), timeout=30)
        assert (later.status_code, bool(later.headers["X-Call-Id"])) == (202, True)
    running = until_train(world, lambda one: one["id"] not in before and "epoch" in one["stage"], "ran")
    stopped = answered(world, "POST", "train/covertype/cancel", headers=world.token())
    assert stopped.status_code == 200
    assert train_ended(world, running["id"])["state"] == "cancelled"
    assert requests.get(world.later("train/covertype"), timeout=30).status_code == 405
    large = requests.post(world.later("train/covertype"), data=b" " * 256_001, headers=world.token(), timeout=30)
    assert large.status_code == 500
    new = [one["id"] for one in executions(world, "train") if one["id"] not in before]
    assert new == [running["id"]]


def test_a_new_token_counts_at_once_and_the_old_one_no_more(world: OnAGateway) -> None:
    old = world.token()
    world.set_secret("train-token", "another-token-that-was-made-today")
    until = time.monotonic() + 150  # a kubelet hands secrets on once a minute
    while answered(world, "POST", "train/covertype/promote", json={"version": 1}, headers=old).status_code != 401:
        assert time.monotonic() < until, "the old token counts still"
        time.sleep(0.5)
    again = answered(world, "POST", "train/covertype/promote", json={"version": 1}, headers=world.token())
    assert again.status_code == 200, again.text


class Clients:
    """Ask classify without a pause, and again where there was no answer; `wrong` are answers that no one may get."""

    def __init__(self, world: OnAGateway, row: dict[str, Any], labels: set[str]) -> None:
        self.world, self.row, self.labels = world, row, labels
        self.asked = self.got = 0
        self.wrong: list[str] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(200)

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                self.asked += 1
            try:
                answer = answered(self.world, "POST", "classify/covertype", 150, json=self.row)
                body = answer.json()
                if answer.status_code != 200 or set(body["predictions"][0]["probabilities"]) != self.labels:
                    self.wrong.append(f"{answer.status_code} {answer.text[:200]}")
            except Exception as error:
                self.wrong.append(repr(error))
            with self._lock:
                self.got += 1


def test_every_question_is_answered_while_classify_is_redeployed(world: OnAGateway) -> None:
    card = answered(world, "GET", "classify/covertype").json()
    with Clients(world, example_row(card), {one["value"] for one in card["labels"]}) as clients:
        wait_until(lambda: clients.got >= 20)
        before = clients.got
        world.redeploy("classify", SABUESO_QUEUE_S="3")
        after = clients.got
        until = time.monotonic() + 60
        while clients.got < after + 50:
            assert time.monotonic() < until, "nobody is answered after the redeploy"
            time.sleep(0.1)
    assert before >= 20
    assert clients.wrong == []
    assert clients.got == clients.asked


def test_a_training_that_a_redeploy_interrupts_is_taken_up_by_the_clock(world: OnAGateway) -> None:
    world.redeploy("train", SABUESO_EPOCHS="covertype=8")  # it must run still when the redeployment strikes
    identity = force(world)
    until_train(world, lambda one: one["id"] == identity and "epoch" in one["stage"], "came to its epochs")
    world.redeploy("train", SABUESO_EPOCHS="covertype=8", SABUESO_QUEUE_S="3")
    assert train_ended(world, identity)["state"] == "interrupted"
    taken = until_train(world, lambda one: one["resumed_from"] == identity, "taken up")
    assert train_ended(world, taken["id"])["state"] == "finished"


def test_a_training_that_needs_too_much_memory_ends_and_the_function_lives_on(world: OnAGateway) -> None:
    world.redeploy("train", memory_mb=300)
    identity = force(world)
    done = train_ended(world, identity)
    assert done["state"] in ("out-of-memory", "interrupted"), done  # stopped by its parent, or by the kernel
    assert answered(world, "GET", "train/covertype").status_code == 200
    world.redeploy("train")
    assert train_ended(world, force(world))["state"] == "finished"
    assert answered(world, "GET", "fetch-batch/covertype").json()["lost_answers"] == 0
