"""A made-up secret in the address or params of a source appears in no answer, no stored file, no log line."""

from __future__ import annotations

import io
import json
import logging
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, redirect, request
from werkzeug.datastructures import Headers

from all_settings import AllSettings as Settings
from classify.app import create_app as create_classify
from common.logging import JsonLines
from common.storage import keys
from common.storage.dataset import Dataset, IntentDocument, SourceDocument
from common.storage.executions import begin
from common.storage.folder import FolderStore
from conftest import TOKEN, Served
from fetch_batch.app import create_app as create_fetch_batch
from fetch_batch.record import FetchRecord
from flowers import draw, encode
from train.app import create_app as create_train

SECRET = "s3cr3t/Zq9 ñ"
PLAIN = "s3cr3t"  # in every spelling of it
ACCOUNT = "ana:s3cr3t%2FZq9"
GAUGES = """
name = "gauges"
kind = "tabular"
title = { en = "Gauges" }
[source]
type = "batch-api"
url = "${GAUGES_URL}"
params = { station = "7", group = "${GAUGES_GROUP:-1}", api_key = "key-${GAUGES_KEY}" }
batches = 9
[[columns]]
name = "level"
type = "number"
[[columns]]
name = "flood"
type = "category"
[target]
column = "flood"
labels = [{ value = "yes" }, { value = "no" }]
"""
SHORT_S, LONG_S = 0.2, 5.0  # a source's time limit, and how long a slow one takes
TIME = "2026-01-01T00:00:00.000Z"


def archive() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as file:
        for number in range(4):
            label = ("cat", "dog")[number % 2]
            file.writestr(f"{label}/{number}.png", encode(draw(label, number)))
    return body.getvalue()


class Astray(Response):
    """A redirect to what is no URL, which Flask's own response refuses to send."""

    def get_wsgi_headers(self, environ: Any) -> Headers:
        return Headers({"Location": "http://[s3cr3t", "Content-Length": "0"})


def make_source() -> Flask:
    """A data API and a file server that answers as its path says; its errors repeat what they were asked with."""
    app = Flask("source")

    @app.get("/", defaults={"how": "", "_": ""})
    @app.get("/<how>/<path:_>")
    def answer(how: str, _: str) -> Any:
        asked = f"wrong key {request.args.get('api_key')} in {request.url} of {request.authorization}"
        match how:
            case "401" | "500":
                return {"detail": asked}, int(how)
            case "over":
                return {"detail": f"Ya se recolectó toda la información; {asked}"}, 400
            case "slow":
                time.sleep(LONG_S)
            case "loop":
                return redirect(f"http://{ACCOUNT}@{request.host}{request.path}?api_key={SECRET}")
            case "elsewhere":
                return redirect(f"http://{ACCOUNT}@127.0.0.1:9/?api_key={SECRET}")
            case "astray":
                return Astray(status=302)
            case "cut":
                return Response(iter([b"{"]), headers={"Content-Length": "99"})
            case "good":
                good = archive() if "zip" in request.path else b'{"batch_number": 1, "data": [[3.5, "no"]]}'
                return Response(good, headers={"ETag": '"1"'})
        return b"neither a batch nor an archive"

    return app


class Collecting:
    """fetch-batch with the pipelines gauges and pets, whose sources have a secret, and all that it may leave behind."""

    def __init__(self, root: Path, make_settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture) -> None:
        self.root, self.make_settings, self.caplog = root, make_settings, caplog
        self.store = FolderStore(root / "store")
        self.answers: list[str] = []
        caplog.set_level(logging.DEBUG)
        caplog.handler.setFormatter(JsonLines("fetch-batch"))

    def settings(self, server: str, how: str, **environment: Any) -> Settings:
        (self.root / "pipelines").mkdir(exist_ok=True)
        (self.root / "pipelines" / "gauges.toml").write_text(GAUGES)
        url = f"http://{ACCOUNT}@{server.removeprefix('http://')}/{how}"
        fixed = {
            "GAUGES_URL": url,
            "GAUGES_KEY": SECRET,
            "PETS_SOURCE": f"{url}/pets.zip?X-Amz-Signature=s3cr3t",
            "MLFLOW_TRACKING_URI": f"http://{ACCOUNT}@127.0.0.1:9",
            "SABUESO_MIN_INTERVAL_S": "0.000001",
            "SABUESO_SOURCE_TIMEOUT_S": SHORT_S if how == "slow" else 30,
        }
        return self.make_settings("pets", **{**fixed, **environment})

    def fetch(self, settings: Settings) -> dict[str, Any]:
        """Fetch each pipeline alone, then both, then read their state; the results of the two, by name."""
        client = create_fetch_batch(settings, self.store).test_client()
        posted = [client.post(path) for path in ("/gauges", "/pets", "/")]
        self.answers += [one.text for one in [*posted, client.get("/gauges"), client.get("/pets")]]
        return {one["pipeline"]: one for one in posted[-1].json["results"]}

    def state(self, settings: Settings, name: str) -> dict[str, Any]:
        return create_fetch_batch(settings, self.store).test_client().get(f"/{name}").json

    def ask_the_others(self, settings: Settings) -> None:
        train = create_train(settings, self.store).test_client()
        classify = create_classify(settings).test_client()
        calls = [train.get("/pets"), train.post("/pets/rollback", headers=TOKEN)]
        calls += [classify.get("/"), classify.get("/pets"), classify.post("/pets", data=b"x")]
        assert any("127.0.0.1:9" in one.text for one in calls), "no answer names MLflow"
        self.answers += [one.text for one in calls]

    def assert_untold(self) -> None:
        assert self.answers
        for text in [*self.answers, self.caplog.text]:
            assert PLAIN not in text
        files = [path for path in self.root.rglob("*") if path.is_file()]
        assert any(path.name == "source.json" or "intents" in path.parts for path in files)
        assert not [path for path in files if PLAIN in str(path) or PLAIN.encode() in path.read_bytes()]


@pytest.fixture
def collecting(tmp_path: Path, make_settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture) -> Collecting:
    return Collecting(tmp_path, make_settings, caplog)


@pytest.fixture
def source(serve: Callable[[Flask], Served]) -> str:
    return serve(make_source()).url


@pytest.mark.parametrize(
    ("how", "of_api", "of_file"),
    [
        ("401", "it answered 401: wrong key", "answered 401"),
        ("500", "it answered 500", "answered 500"),
        ("over", "the source says: Ya se recolectó", "answered 400"),
        ("slow", "no answer within", "can't be fetched: ReadTimeout"),
        ("loop", "TooManyRedirects", "TooManyRedirects"),
        ("elsewhere", "no connection to", "can't be fetched: ConnectionError"),
        ("astray", "the request failed: ", "can't be fetched: "),
        ("cut", "cut short", "can't be fetched: ChunkedEncodingError"),
        ("nonsense", "not a batch", "can't be read"),
    ],
)
def test_a_failure_does_not_tell_the_secrets_of_its_source(
    collecting: Collecting, source: str, how: str, of_api: str, of_file: str
) -> None:
    settings = collecting.settings(source, how)
    results = collecting.fetch(settings)
    assert of_file in results["pets"]["message"]
    assert source in results["pets"]["message"]
    told = [execution["message"] for execution in collecting.state(settings, "gauges")["executions"]]
    assert any(of_api in message for message in told)
    collecting.assert_untold()


@pytest.mark.parametrize("address", [f"http://{ACCOUNT}@127.0.0.1:9", f"http://{ACCOUNT}@[bad", f"htp://{ACCOUNT}@h"])
def test_an_address_without_a_server_does_not_tell_its_secrets(collecting: Collecting, address: str) -> None:
    settings = collecting.settings("", "", GAUGES_URL=address, PETS_SOURCE=f"{address}/a.zip?sig=s3cr3t")
    assert {one["status"] for one in collecting.fetch(settings).values()} == {"source-unavailable"}
    collecting.ask_the_others(settings)
    collecting.assert_untold()


def test_an_address_without_a_path_does_not_tell_its_secrets(collecting: Collecting, source: str) -> None:
    settings = collecting.settings(source, "", PETS_SOURCE=f"{source.replace('//', f'//{ACCOUNT}@')}?sig=s3cr3t")
    assert collecting.fetch(settings)["pets"]["status"] == "source-unavailable"
    assert list(collecting.root.rglob("downloads/*/file"))
    collecting.assert_untold()


def test_what_is_collected_names_its_source_without_the_secrets(collecting: Collecting, source: str) -> None:
    settings = collecting.settings(source, "good")
    assert collecting.fetch(settings)["pets"]["status"] == "complete"
    gauges = collecting.state(settings, "gauges")
    params = {"station": "7", "group": "1", "api_key": "key-${GAUGES_KEY}"}
    assert (gauges["samples"], gauges["source"]["location"]) == (1, f"{source}/good")
    assert gauges["source"]["params"] == params
    (sample,) = Dataset(collecting.store, "gauges").samples()
    assert (sample.meta.source.url, sample.meta.source.params) == (f"{source}/good", params)
    pets = collecting.state(settings, "pets")
    assert (pets["samples"], pets["source"]["location"]) == (4, f"{source}/good/pets.zip")
    collecting.assert_untold()


@pytest.mark.parametrize(
    "change",
    [
        {"GAUGES_KEY": "s3cr3t-new"},
        {"GAUGES_GROUP": "s3cr3t-group"},
        {"GAUGES_URL": "http://ana:s3cr3t@127.0.0.1:9/elsewhere?key=s3cr3t"},
    ],
    ids=["key", "group", "url"],
)
def test_a_changed_source_is_refused_without_telling_either(
    collecting: Collecting, source: str, change: dict[str, str]
) -> None:
    before, after = collecting.settings(source, "good"), collecting.settings(source, "good", **change)
    collecting.fetch(before)
    answer = create_fetch_batch(after, collecting.store).test_client().post("/gauges")
    assert (answer.status_code, answer.json["type"]) == (409, "urn:sabueso:problem:source-changed")
    assert f"{source}/good" in answer.json["detail"]
    assert ("delete datasets/gauges/source.json" in answer.json["detail"]) == ("GAUGES_URL" not in change)
    collecting.fetch(after)
    collecting.assert_untold()
    (collecting.root / "store" / "datasets" / "gauges" / "source.json").unlink()
    assert collecting.fetch(after)["gauges"]["status"] != "source-unavailable" or "GAUGES_URL" in change


def test_another_query_of_a_file_is_another_source_and_another_password_is_not(
    collecting: Collecting, source: str
) -> None:
    first = collecting.settings(source, "good")
    collecting.fetch(first)
    other = first.environment["PETS_SOURCE"].replace(ACCOUNT, "ana:new-s3cr3t")
    assert collecting.fetch(collecting.settings(source, "good", PETS_SOURCE=other))["pets"]["status"] == "complete"
    other = other.replace("Signature=", "Signature=new-")
    result = collecting.fetch(collecting.settings(source, "good", PETS_SOURCE=other))["pets"]
    assert (result["status"], "its source is now" in result["message"]) == ("source-unavailable", True)
    collecting.assert_untold()


def test_a_store_of_an_earlier_version_goes_on_without_its_secrets(collecting: Collecting, source: str) -> None:
    settings = collecting.settings(source, "good", GAUGES_GROUP="42")
    address, store, key = settings.environment["GAUGES_URL"], collecting.store, keys.source("gauges")
    params = {"station": "7", "group": "42", "api_key": f"key-{SECRET}"}
    stored = {
        "type": "batch-api",
        "location": address,
        "params": params,
        "made_up": False,
        "since": TIME,
    }
    store.put(key, json.dumps(stored).encode())
    told = f"no connection to {address}?api_key=s3cr3t"
    intent = {"id": "intent-1", "time": TIME, "lease": "n", "outcome": f"failed: {told}"}
    store.put(keys.intent("gauges", "intent-1"), json.dumps(intent).encode())
    record = FetchRecord.new(lease="n", state="finished", status="source-unavailable").model_copy(
        update={"message": f"the stored data come from {address} {json.dumps(params)}, but"}
    )
    begin(store, "gauges", record)
    before = collecting.state(settings, "gauges")
    assert before["source"] == {**stored, "location": f"{source}/good", "params": dict.fromkeys(params, "***")}
    assert before["failures"] == [{"detail": f"no connection to {source}/good", "count": 1}]
    assert before["executions"][0]["message"] == f"the stored data come from {source}/good, but"
    assert PLAIN not in json.dumps(before)
    assert collecting.fetch(settings)["gauges"]["status"] == "collected"
    now = SourceDocument.decode(store.get(key).body, key)  # type: ignore[union-attr]
    assert now.params == {"station": "7", "group": "${GAUGES_GROUP}", "api_key": "key-${GAUGES_KEY}"}
    assert (now.location, now.since) == (f"{source}/good", stored["since"])
    assert PLAIN.encode() not in store.get(key).body  # type: ignore[union-attr]
    assert IntentDocument.decode(json.dumps(intent).encode(), "").failure == f"no connection to {source}/good"
    moved = collecting.settings(source, "good", GAUGES_GROUP="43")
    store.put(key, json.dumps(stored).encode())
    assert create_fetch_batch(moved, store).test_client().post("/gauges").status_code == 409
    assert PLAIN.encode() not in store.get(key).body  # type: ignore[union-attr]


def test_a_store_of_an_earlier_version_without_secrets_can_still_be_read_by_it(
    collecting: Collecting, source: str
) -> None:
    """scripts/deploy may roll back: the values that are no secret stay as they were."""
    settings = collecting.settings(source, "good", GAUGES_URL=f"{source}/good", GAUGES_KEY="")
    plain = GAUGES.replace(', api_key = "key-${GAUGES_KEY}"', "")
    (collecting.root / "pipelines" / "gauges.toml").write_text(plain)
    stored = {"type": "batch-api", "location": f"{source}/good", "params": {"station": "7", "group": "1"}}
    key = keys.source("gauges")
    collecting.store.put(key, json.dumps({**stored, "made_up": False, "since": TIME}).encode())
    collecting.fetch(settings)
    rewritten = json.loads(collecting.store.get(key).body)  # type: ignore[union-attr]
    assert {name: rewritten[name] for name in stored} == stored
