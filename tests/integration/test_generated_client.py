"""Clients that openapi-generator makes from `openapi.json` can call every route of the three functions."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from all_settings import AllSettings as Settings
from classify.app import create_app as create_classify
from conftest import TOKEN, Served, wait_until
from fetch_batch.app import create_app as create_fetch
from flowers import draw, encode, flower_rows, write_csv
from serving import ROW
from train.app import create_app as create_train

pytestmark = [pytest.mark.integration, pytest.mark.full]


class Client:
    """client.call("operationId", ...): the answer as the generated type; `called` collects the operations."""

    def __init__(self, url: str, home: Path, package: str) -> None:
        self.description = requests.get(f"{url}/openapi.json", timeout=30).json()
        (home / "openapi.json").write_text(json.dumps(self.description))
        generator = [str(Path(sys.executable).with_name("openapi-generator-cli")), "generate", "-g", "python"]
        options = ["-i", str(home / "openapi.json"), "-o", str(home), "--package-name", package]
        done = subprocess.run([*generator, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        self.module = importlib.import_module(package)
        token = TOKEN["Authorization"].removeprefix("Bearer ")
        configuration = self.module.Configuration(host=url, access_token=token)
        self._api = self.module.DefaultApi(self.module.ApiClient(configuration))
        self.called: set[str] = set()

    def call(self, operation: str, *arguments: Any, **options: Any) -> Any:
        self.called.add(operation)
        return getattr(self._api, operation)(*arguments, **options)

    def call_common_routes_and_check_that_all_were_called(self) -> None:
        assert self.call("is_alive").status == "ok"
        wait_until(lambda: self.call("is_ready").status == "ok")
        assert "sabueso_http_requests_total" in self.call("metrics")
        assert self.call("describe")["openapi"] == self.description["openapi"]
        operation_ids = {one["operationId"] for path in self.description["paths"].values() for one in operations(path)}
        assert self.called == operation_ids


def operations(path: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for method, operation in path.items() if method != "parameters"]


@pytest.fixture
def client(
    serve: Callable[[Flask], Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Flask, str], Client]:
    def make(app: Flask, package: str) -> Client:
        home = tmp_path / package
        home.mkdir()
        monkeypatch.syspath_prepend(str(home))
        return Client(serve(app).url, home, package)

    return make


def test_the_client_of_classify_calls_every_route(
    client, make_settings: Callable[..., Settings], mlflow: Any, serve
) -> None:
    settings = make_settings("flowers", "pets", MLFLOW_TRACKING_URI=serve(mlflow.app).url)
    classify = client(create_classify(settings), "client_of_classify")
    wait_until(lambda: all(one.ready for one in classify.call("list_pipelines").pipelines))
    assert classify.call("get_card", "flowers").model.version == "1"
    # The generated clients send bytes unchanged, so rows go as CSV.
    rows = "\n".join([",".join(ROW), *2 * [",".join(map(str, ROW.values()))]])
    answers = [
        classify.call("classify", "flowers", body=rows.encode(), _content_type="text/csv"),
        classify.call("classify", "pets", body=encode(draw("cat", 1)), _content_type="image/png"),
    ]
    assert [[one.label for one in answer.predictions] for answer in answers] == [["small", "small"], ["cat"]]
    with pytest.raises(classify.module.exceptions.UnprocessableEntityException) as refused:
        classify.call("classify", "flowers", body=rows.replace("11.5", "high").encode(), _content_type="text/csv")
    assert refused.value.data.type == "urn:sabueso:problem:unusable"
    classify.call_common_routes_and_check_that_all_were_called()


def test_the_client_of_fetch_batch_calls_every_route(
    client, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    table = write_csv(tmp_path / "flowers.csv", flower_rows(30))
    fetch = client(create_fetch(make_settings("flowers", FLOWERS_SOURCE=table)), "client_of_fetch_batch")
    assert [one.status for one in fetch.call("collect_all").results] == ["collected"]
    assert [one.status for one in fetch.call("collect", "flowers").results] == ["too-soon"]
    assert fetch.call("get_collection", "flowers").samples == 1
    with pytest.raises(fetch.module.exceptions.NotFoundException):
        fetch.call("get_collection", "roses")
    fetch.call_common_routes_and_check_that_all_were_called()


def test_the_client_of_train_calls_every_route(
    client, make_settings: Callable[..., Settings], mlflow: Any, serve, bundles
) -> None:
    mlflow.register("flowers", "2", bundles / "flowers", champion=False)
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url)
    train = client(create_train(settings), "client_of_train")
    accepted = train.call("train", "flowers")
    assert train.call("cancel", "flowers").id == accepted.id
    wait_until(lambda: train.call("get_training", "flowers").state != "running", 60)
    training = train.call("get_training", "flowers")
    assert (training.state, [one.id for one in training.history]) == ("cancelled", [accepted.id])
    assert train.call("promote", "flowers", {"version": 2}).champion == "2"
    assert train.call("rollback", "flowers").champion == "1"
    train.call_common_routes_and_check_that_all_were_called()
