"""The S3 store on a server that misbehaves: ignores conditions, answers with errors, or hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request

from all_settings import AllSettings as Settings
from common.errors import StoreUnavailable, WrongSettings
from common.storage import s3
from common.storage.leases import acquire, holder_nonce
from common.storage.open_store import open_store
from common.storage.s3 import S3Store
from fetch_batch.app import create_app
from local.made_up_rows import made_up_rows
from train.retry import RetryPolicy


class FakeS3:
    """A minimal S3 over a dict. `conditions`: whether it honours them; `errors`: how often it answers 503 first.

    While it `hangs` it accepts requests and never answers; `unanswered` counts them. Objects are always new.
    """

    def __init__(self, conditions: bool, errors: int = 0, code: str = "SlowDown") -> None:
        self.conditions, self.errors, self.code = conditions, errors, code
        self.objects: dict[str, bytes] = {}
        self.puts = self.unanswered = 0
        self.hangs, self.end = False, threading.Event()
        self.app = Flask("s3")
        self.app.add_url_rule("/<path:key>", view_func=self.call, methods=["GET", "PUT"])

    def call(self, key: str) -> Response:
        if self.hangs:
            self.unanswered += 1
            self.end.wait(60)
        if "list-type" in request.args:
            prefix = f"{key}/{request.args['prefix']}"
            listed = [one.removeprefix(f"{key}/") for one in sorted(self.objects) if one.startswith(prefix)]
            entries = "".join(f"<Contents><Key>{one}</Key></Contents>" for one in listed)
            return Response(f"<ListBucketResult>{entries}</ListBucketResult>", mimetype="application/xml")
        if self.errors:
            self.errors -= 1
            return self.refuse(503, self.code)
        etag = f'"{hash(self.objects.get(key)):x}"'
        if request.method == "PUT":
            self.puts += 1
            absent, match = request.headers.get("If-None-Match"), request.headers.get("If-Match")
            violated = (absent and key in self.objects) or (match and (key not in self.objects or match != etag))
            if self.conditions and violated:
                return self.refuse(412, "PreconditionFailed")
            self.objects[key] = request.data
            return Response(headers={"ETag": f'"{hash(request.data):x}"'})
        if key not in self.objects:
            return self.refuse(404, "NoSuchKey")
        return Response(
            self.objects[key], headers={"ETag": etag, "Last-Modified": formatdate(usegmt=True)}, mimetype="a/b"
        )

    def refuse(self, status: int, code: str) -> Response:
        return Response(f"<Error><Code>{code}</Code></Error>", status, mimetype="application/xml")


@pytest.fixture
def at(make_settings: Callable[..., Settings], serve: Any, secrets: Path) -> Iterator[Callable[..., Settings]]:
    """at(SERVER): the settings of a store on that server."""
    servers: list[FakeS3] = []
    for name in ("s3-access-key", "s3-secret-key"):
        (secrets / name).write_text("a-secret-text")

    def begin(server: FakeS3, *pipelines: str, **environment: str) -> Settings:
        servers.append(server)
        url = serve(server.app).url
        return make_settings(*pipelines, SABUESO_STORE="s3://bucket", AWS_ENDPOINT_URL_S3=url, **environment)

    yield begin
    for server in servers:
        server.end.set()


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server counts as silent after half a second, for the rest of the test."""
    monkeypatch.setattr(S3Store, "read_s", 0.5)
    monkeypatch.setattr(s3, "SILENT_S", 600.0)


def test_a_server_that_ignores_conditions_is_refused_at_start_naming_alternatives(at: Any) -> None:
    with pytest.raises(WrongSettings, match=r"s3://bucket.*\n.*SABUESO_STORE.*MinIO, versitygw"):
        open_store(at(FakeS3(conditions=False)))


def test_a_server_that_honours_conditions_is_probed_once(at: Any) -> None:
    server = FakeS3(conditions=True)
    store = open_store(at(server))
    probes = server.puts
    store.put("key", b"1", if_absent=True)
    assert (probes, server.puts) == (3, 4)


def test_a_server_that_is_down_at_start_is_probed_before_the_first_conditional_write(
    at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "FIRST_PAUSE_S", 0.001)
    server = FakeS3(conditions=False, errors=s3.ATTEMPTS + 1)
    store = open_store(at(server))
    with pytest.raises(WrongSettings, match="If-None-Match"):
        store.put("key", b"1", if_absent=True)
    assert "bucket/key" not in server.objects


def test_errors_of_the_server_are_retried_a_bounded_number_of_times(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "FIRST_PAUSE_S", 0.001)
    server = FakeS3(conditions=True)
    store = open_store(at(server))
    server.errors = s3.ATTEMPTS - 1
    store.put("key", b"1", if_absent=True)
    assert store.get("key").body == b"1"  # type: ignore[union-attr]
    server.errors = 1000
    with pytest.raises(StoreUnavailable, match="SlowDown"):
        store.get("key")
    assert server.errors == 1000 - s3.ATTEMPTS


def test_a_running_store_survives_a_secret_file_that_is_missing_for_a_moment(at: Any, secrets: Path) -> None:
    store = open_store(at(FakeS3(conditions=True)))
    etag = store.put("key", b"1", if_absent=True)
    (secrets / "s3-secret-key").unlink()
    (secrets / "s3-access-key").write_text("")
    store.put("key", b"2", if_match=etag)
    assert store.get("key").body == b"2"  # type: ignore[union-attr]


def test_a_full_disk_is_reported_without_a_retry(at: Any) -> None:
    server = FakeS3(conditions=True)
    store = open_store(at(server))
    server.errors, server.code = 1000, "XMinioStorageFull"
    with pytest.raises(StoreUnavailable, match="full: free some space"):
        store.put("key", b"1", if_absent=True)
    assert server.errors == 999


@pytest.mark.usefixtures("short_silence")
@pytest.mark.parametrize(
    ("calls", "call"),
    [
        (1, lambda store: store.get("key")),
        (1, lambda store: list(store.list(""))),
        (1, lambda store: store.put("key", b"1")),
        (2, lambda store: store.put("key", b"1", if_absent=True)),  # and a read: did the write succeed?
    ],
)
def test_a_server_that_hangs_is_tried_once(at: Any, calls: int, call: Any) -> None:
    server = FakeS3(conditions=True)
    store = open_store(at(server))
    server.hangs = True
    details = set()
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match=r"did not answer.*work continues by itself") as error:
            call(store)
        details.add(error.value.detail)
    assert (server.unanswered, len(details)) == (calls, 1)


@pytest.mark.usefixtures("short_silence")
def test_a_lease_survives_a_server_that_hangs_for_a_moment(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeS3(conditions=True)
    store = open_store(at(server))
    lease = acquire(store, "jobs/p/train.json", "train p", 60)
    server.hangs = True
    assert [lease.renew() for _ in range(3)] == [True] * 3
    assert server.unanswered == 2
    server.hangs = False
    monkeypatch.setattr(s3, "SILENT_S", 0.0)
    assert lease.confirm()
    assert holder_nonce(store, lease.key) == lease.nonce


@pytest.mark.usefixtures("short_silence")
def test_a_job_continues_when_a_server_that_hung_answers(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server, reasons = FakeS3(conditions=True), []
    store = open_store(at(server))
    store.put("key", b"1")
    server.hangs = True
    monkeypatch.setattr(s3, "SILENT_S", 1.0)

    def report(reason: str | None) -> None:
        reasons.append(reason)
        server.hangs = False

    assert RetryPolicy(300, report)(lambda: store.get("key")).body == b"1"  # type: ignore[union-attr]
    assert (server.unanswered, len(reasons), reasons[-1]) == (1, 2, None)


@pytest.mark.usefixtures("short_silence")
@pytest.mark.parametrize(("begins", "calls"), [("before", 1), ("after the source answered", 2)])
def test_a_fetch_whose_store_hangs_waits_for_one_request_and_ends_with_503(
    at: Any, serve: Any, begins: str, calls: int
) -> None:
    server, source, requests = FakeS3(conditions=True), Flask("source"), []

    @source.get("/data")
    def data() -> dict[str, Any]:
        requests.append(1)
        server.hangs = True
        return {"group_number": 1, "batch_number": 1, "data": made_up_rows(5)}

    settings = at(server, "covertype", COVERTYPE_API_URL=serve(source).url)
    client = create_app(settings).test_client()
    server.hangs = begins == "before"
    answer = client.post("/covertype")
    assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:store-unavailable")
    assert "work continues by itself" in answer.json["detail"]
    assert server.unanswered == calls
    waiting = list((settings.scratch / "waiting" / "covertype").glob("*.json"))
    assert len(waiting) == len(requests) == (begins != "before")
