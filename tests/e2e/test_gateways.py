"""The same behaviour on both gateways: the local one, and a real OpenFaaS if OPENFAAS_URL is set.

The tests run in their order on one system: it is deployed, collects by cron, trains and serves; then it is disturbed.
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
from deployment.smoke import example_row, make_picture, smoke
from gateways import MIN_INTERVAL_S, GatewayDeployment, LocalGateway, Openfaas

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(1800)]

ENDED_S = 420
CLIENTS = 4
# How a gateway without a replica answers, if it does not close the connection.
NO_REPLICA = (404, 500, 502, 503, 504)


@pytest.fixture(scope="module", params=["local", pytest.param("openfaas", marks=pytest.mark.openfaas)])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayDeployment]:
    """Deployed, before any request."""
    kind = {"local": LocalGateway, "openfaas": Openfaas}[request.param]
    deployed = kind(tmp_path_factory.mktemp(request.param))
    try:
        deployed.start()
        yield deployed
    finally:
        deployed.stop()


def executions(system: GatewayDeployment, function: str, pipeline: str = "covertype") -> list[dict[str, Any]]:
    status = send(system, "GET", f"{function}/{pipeline}").json()
    return list(status["executions" if function == "fetch-batch" else "history"])


def send(system: GatewayDeployment, method: str, path: str, seconds: float = 120, **options: Any) -> requests.Response:
    """The answer of a function itself; retries while there is no replica."""
    until, last = time.monotonic() + seconds, ""
    while time.monotonic() < until:
        try:
            answer = requests.request(method, system.url(path), timeout=10, **options)
        except requests.RequestException as error:
            last = type(error).__name__
        else:
            if answer.status_code not in NO_REPLICA or answer.headers.get("X-Request-Id"):
                return answer
            last = f"{answer.status_code} {answer.text[:200]}"
        time.sleep(0.1)
    pytest.fail(f"{method} {path}: no answer in {seconds} s; last: {last}")


def wait_for_end(system: GatewayDeployment, identity: str, pipeline: str = "covertype") -> dict[str, Any]:
    """The record of a training after its end."""
    until = time.monotonic() + ENDED_S
    while time.monotonic() < until:
        for record in executions(system, "train", pipeline):
            if record["id"] == identity and record["state"] != "running":
                return record
        time.sleep(0.3)
    pytest.fail(f"training {identity} of {pipeline} did not end: {executions(system, 'train', pipeline)[:2]}")


def wait_for_train(system: GatewayDeployment, holds: Any, what: str, pipeline: str = "covertype") -> dict[str, Any]:
    until = time.monotonic() + ENDED_S
    while time.monotonic() < until:
        status: dict[str, Any] = send(system, "GET", f"train/{pipeline}").json()
        if holds(status):
            return status
        time.sleep(0.2)
    pytest.fail(f"train/{pipeline} never {what}: {status}")


def force_training(system: GatewayDeployment) -> str:
    """Start a forced training, after the end of one that a tick began."""
    until = time.monotonic() + ENDED_S
    while time.monotonic() < until:
        answer = send(system, "POST", "train/covertype", json={"force": True}, headers=system.token())
        if answer.status_code == 202:
            return str(answer.json()["id"])
        assert answer.status_code == 409, answer.text
        time.sleep(0.5)
    pytest.fail("a training runs for ever")


def test_the_functions_are_deployed_as_stack_yml_says(system: GatewayDeployment) -> None:
    listed = {one["name"]: one for one in system.list_functions()}
    assert {"fetch-batch", "train", "classify"} <= set(listed)
    for name, one in system.stack().items():
        assert listed[name]["replicas"] >= 1
        assert f"/{name}:" in listed[name]["image"]
        shown = listed[name].get("annotations") or {}
        assert shown.get("com.openfaas.ready.http.path") == one.annotations["com.openfaas.ready.http.path"]
        wait_until(lambda name=name: send(system, "GET", f"{name}/readyz").status_code == 200, 120)
    assert smoke(system.gateway, no_model=True) == 0


def test_the_preflight_of_a_browser_reaches_the_function(system: GatewayDeployment) -> None:
    answer = send(system, "OPTIONS", "classify/covertype")
    assert (answer.status_code, {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))) == (200, True)
    assert answer.headers["X-Request-Id"]


def test_cron_calls_fetch_batch(system: GatewayDeployment) -> None:
    until = time.monotonic() + 150
    while not (fetches := executions(system, "fetch-batch")):
        assert time.monotonic() < until, "no tick in 150 s"
        time.sleep(0.5)
    assert fetches[0]["state"] in ("running", "finished")


def test_without_a_token_only_fetches_are_allowed_at_their_interval(
    system: GatewayDeployment,
) -> None:
    before, began = len(system.source.given), time.monotonic()
    results = [send(system, "POST", "fetch-batch/covertype", data=b"{}").json()["results"][0] for _ in range(12)]
    took = time.monotonic() - began
    batches = len(system.source.given) - before
    assert batches <= took / MIN_INTERVAL_S + 2, (batches, took)  # one of ours, perhaps one of cron's
    assert "too-soon" in {result["status"] for result in results}
    for call in ("", "/cancel", "/promote", "/rollback"):
        assert send(system, "POST", f"train/covertype{call}", json={}).status_code == 401
    wrong = {"Authorization": "Bearer not-it"}
    assert send(system, "POST", "train/covertype", json={}, headers=wrong).status_code == 401


def test_the_collection_completes_and_loses_nothing(system: GatewayDeployment) -> None:
    until = time.monotonic() + 300
    while not send(system, "GET", "fetch-batch/covertype").json()["complete"]:
        assert time.monotonic() < until, "the collection did not become complete"
        send(system, "POST", "fetch-batch/covertype")
        time.sleep(0.5)
    status = send(system, "GET", "fetch-batch/covertype").json()
    assert (status["lost_answers"], status["missing_batches"]) == (0, [])
    assert sorted(samples(system).values()) == sorted(set(system.source.given))


def test_a_complete_collection_triggers_a_training_whose_version_serves(system: GatewayDeployment) -> None:
    first = wait_for_train(system, lambda one: one["id"] is not None, "began")
    if first["state"] == "running":
        busy = send(system, "POST", "train/covertype", json={}, headers=system.token())
        assert busy.status_code in (202, 409)  # it may have ended between the two calls
    done = wait_for_end(system, executions(system, "train")[-1]["id"])
    assert (done["state"], done["decision"]) == ("finished", "promoted")
    version = done["version"]
    until = time.monotonic() + 60
    while send(system, "GET", "classify/covertype").status_code == 503:
        assert time.monotonic() < until
    card = send(system, "GET", "classify/covertype").json()
    assert (card["model"]["version"], card["made_up"]) == (version, True)
    answer = send(system, "POST", "classify/covertype", json=example_row(card)).json()
    assert answer["predictions"][0]["label"] in {one["value"] for one in card["labels"]}


def test_a_picture_is_classified(system: GatewayDeployment) -> None:
    until = time.monotonic() + 300
    while not executions(system, "train", "pets"):
        assert time.monotonic() < until, "the pictures were not trained"
        send(system, "POST", "fetch-batch/pets")
        time.sleep(0.5)
    done = wait_for_end(system, executions(system, "train", "pets")[-1]["id"], "pets")
    assert (done["state"], done["decision"]) == ("finished", "promoted"), done["reason"]
    until = time.monotonic() + 60
    while send(system, "GET", "classify/pets").status_code == 503:
        assert time.monotonic() < until, "the version does not serve"
    picture = {"data": make_picture(), "headers": {"Content-Type": "image/png"}}
    answer = send(system, "POST", "classify/pets", **picture).json()
    assert answer["predictions"][0]["label"] in ("cat", "dog")
    assert smoke(system.gateway) == 0


def test_an_asynchronous_call_delivered_twice_trains_once_and_can_be_cancelled(system: GatewayDeployment) -> None:
    before = [one["id"] for one in executions(system, "train")]
    for _ in range(2):
        accepted = requests.post(
            system.async_url("train/covertype"), json={"force": True}, headers=system.token(), timeout=30
        )
        assert (accepted.status_code, bool(accepted.headers["X-Call-Id"])) == (202, True)
    running = wait_for_train(system, lambda one: one["id"] not in before and "epoch" in one["stage"], "ran")
    stopped = send(system, "POST", "train/covertype/cancel", headers=system.token())
    assert stopped.status_code == 200
    assert wait_for_end(system, running["id"])["state"] == "cancelled"
    assert requests.get(system.async_url("train/covertype"), timeout=30).status_code == 405
    large = requests.post(system.async_url("train/covertype"), data=b" " * 256_001, headers=system.token(), timeout=30)
    assert large.status_code == 500
    new = [one["id"] for one in executions(system, "train") if one["id"] not in before]
    assert new == [running["id"]]


def test_a_new_token_replaces_the_old_one(system: GatewayDeployment) -> None:
    old = system.token()
    system.set_secret("train-token", "a-new-token")
    until = time.monotonic() + 150  # a kubelet updates secrets once a minute
    while send(system, "POST", "train/covertype/promote", json={"version": 1}, headers=old).status_code != 401:
        assert time.monotonic() < until, "the old token is still accepted"
        time.sleep(0.5)
    again = send(system, "POST", "train/covertype/promote", json={"version": 1}, headers=system.token())
    assert again.status_code == 200, again.text


class Clients:
    """Clients that call classify without a pause and retry without an answer. `wrong`: answers that must not happen."""

    def __init__(self, system: GatewayDeployment, row: dict[str, Any], labels: set[str]) -> None:
        self.system, self.row, self.labels = system, row, labels
        self.sent = self.answered = 0
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
                self.sent += 1
            try:
                answer = send(self.system, "POST", "classify/covertype", 150, json=self.row)
                body = answer.json()
                if answer.status_code != 200 or set(body["predictions"][0]["probabilities"]) != self.labels:
                    self.wrong.append(f"{answer.status_code} {answer.text[:200]}")
            except Exception as error:
                self.wrong.append(repr(error))
            with self._lock:
                self.answered += 1


def test_every_request_is_answered_while_classify_is_redeployed(system: GatewayDeployment) -> None:
    card = send(system, "GET", "classify/covertype").json()
    with Clients(system, example_row(card), {one["value"] for one in card["labels"]}) as clients:
        wait_until(lambda: clients.answered >= 20)
        before = clients.answered
        system.redeploy("classify", SABUESO_QUEUE_S="3")
        after = clients.answered
        until = time.monotonic() + 60
        while clients.answered < after + 50:
            assert time.monotonic() < until, "no request is answered after the redeploy"
            time.sleep(0.1)
    assert before >= 20
    assert clients.wrong == []
    assert clients.answered == clients.sent


def test_a_training_interrupted_by_a_redeploy_is_resumed_by_cron(system: GatewayDeployment) -> None:
    system.redeploy("train", SABUESO_EPOCHS="covertype=8")  # it must still run when train is deployed again
    identity = force_training(system)
    wait_for_train(system, lambda one: one["id"] == identity and "epoch" in one["stage"], "reached its epochs")
    system.redeploy("train", SABUESO_EPOCHS="covertype=8", SABUESO_QUEUE_S="3")
    assert wait_for_end(system, identity)["state"] == "interrupted"
    resumed = wait_for_train(system, lambda one: one["resumed_from"] == identity, "resumed it")
    assert wait_for_end(system, resumed["id"])["state"] == "finished"


def test_a_training_without_enough_memory_ends_and_train_keeps_answering(system: GatewayDeployment) -> None:
    system.redeploy("train", memory_mb=300)
    identity = force_training(system)
    done = wait_for_end(system, identity)
    assert done["state"] in ("out-of-memory", "interrupted"), done  # stopped by its supervisor, or by the kernel
    assert send(system, "GET", "train/covertype").status_code == 200
    system.redeploy("train")
    assert wait_for_end(system, force_training(system))["state"] == "finished"
    assert send(system, "GET", "fetch-batch/covertype").json()["lost_answers"] == 0
