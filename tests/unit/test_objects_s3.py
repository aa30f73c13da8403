"""What the S3 store does of a server that misbehaves: one that ignores conditions, falters, or hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request

from common import objects_s3
from common.errors import StoreUnavailable, WrongSettings
from common.leases import acquire, held_by
from common.objects import open_objects
from common.objects_s3 import S3Objects
from common.settings import Settings
from fetch_batch.app import create_app
from local.made_up_rows import made_up_rows
from train.patience import Patience


class LaxS3:
    """The least of S3 over a dict; `conditions` says whether it keeps them, `ill` how often it answers 503 first.

    While it `hangs` it takes calls and says nothing; `unanswered` counts them. Every object is as if just written.
    """

    def __init__(self, conditions: bool, ill: int = 0, code: str = "SlowDown") -> None:
        self.conditions, self.ill, self.code = conditions, ill, code
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
            found = [one.removeprefix(f"{key}/") for one in sorted(self.objects) if one.startswith(prefix)]
            entries = "".join(f"<Contents><Key>{one}</Key></Contents>" for one in found)
            return Response(f"<ListBucketResult>{entries}</ListBucketResult>", mimetype="application/xml")
        if self.ill:
            self.ill -= 1
            return self.refuse(503, self.code)
        etag = f'"{hash(self.objects.get(key)):x}"'
        if request.method == "PUT":
            self.puts += 1
            absent, match = request.headers.get("If-None-Match"), request.headers.get("If-Match")
            wrong = (absent and key in self.objects) or (match and (key not in self.objects or match != etag))
            if self.conditions and wrong:
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
    """Settings of a store at this server."""
    servers: list[LaxS3] = []
    for name in ("s3-access-key", "s3-secret-key"):
        (secrets / name).write_text("a-secret-text")

    def begin(server: LaxS3, *pipelines: str, **more: str) -> Settings:
        servers.append(server)
        url = serve(server.app).url
        return make_settings(*pipelines, SABUESO_STORE="s3://bucket", AWS_ENDPOINT_URL_S3=url, **more)

    yield begin
    for server in servers:
        server.end.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is silent after half a second, and left alone until the test is over."""
    monkeypatch.setattr(S3Objects, "read_s", 0.5)
    monkeypatch.setattr(objects_s3, "SILENT_S", 600.0)


def test_a_server_that_ignores_conditions_is_refused_at_start_with_what_to_use_instead(at: Any) -> None:
    with pytest.raises(WrongSettings, match=r"s3://bucket.*\n.*SABUESO_STORE.*MinIO, versitygw"):
        open_objects(at(LaxS3(conditions=False)))


def test_a_server_that_keeps_conditions_is_proved_once(at: Any) -> None:
    server = LaxS3(conditions=True)
    store = open_objects(at(server))
    proof = server.puts
    store.put("key", b"1", if_absent=True)
    assert (proof, server.puts) == (3, 4)


def test_a_server_that_does_not_answer_at_start_is_proved_before_the_first_conditional_write(
    at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects_s3, "FIRST_PAUSE_S", 0.001)
    server = LaxS3(conditions=False, ill=objects_s3.ATTEMPTS + 1)
    store = open_objects(at(server))
    with pytest.raises(WrongSettings, match="If-None-Match"):
        store.put("key", b"1", if_absent=True)
    assert "bucket/key" not in server.objects


def test_a_server_that_falters_is_asked_again_a_bounded_number_of_times(
    at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects_s3, "FIRST_PAUSE_S", 0.001)
    server = LaxS3(conditions=True)
    store = open_objects(at(server))
    server.ill = objects_s3.ATTEMPTS - 1
    store.put("key", b"1", if_absent=True)
    assert store.get("key").body == b"1"  # type: ignore[union-attr]
    server.ill = 1000
    with pytest.raises(StoreUnavailable, match="SlowDown"):
        store.get("key")
    assert server.ill == 1000 - objects_s3.ATTEMPTS


def test_a_secret_file_that_is_gone_for_a_moment_does_not_end_what_runs(at: Any, secrets: Path) -> None:
    store = open_objects(at(LaxS3(conditions=True)))
    etag = store.put("key", b"1", if_absent=True)
    (secrets / "s3-secret-key").unlink()
    (secrets / "s3-access-key").write_text("")
    store.put("key", b"2", if_match=etag)
    assert store.get("key").body == b"2"  # type: ignore[union-attr]


def test_a_full_disk_is_told_as_such_and_not_asked_again(at: Any) -> None:
    server = LaxS3(conditions=True)
    store = open_objects(at(server))
    server.ill, server.code = 1000, "XMinioStorageFull"
    with pytest.raises(StoreUnavailable, match="full: make room"):
        store.put("key", b"1", if_absent=True)
    assert server.ill == 999


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("calls", "call"),
    [
        (1, lambda store: store.get("key")),
        (1, lambda store: list(store.list(""))),
        (1, lambda store: store.put("key", b"1")),
        (2, lambda store: store.put("key", b"1", if_absent=True)),  # and once whether it got through
    ],
)
def test_a_server_that_hangs_is_asked_once_and_then_left_alone(at: Any, calls: int, call: Any) -> None:
    server = LaxS3(conditions=True)
    store = open_objects(at(server))
    server.hangs = True
    told = set()
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match=r"did not answer.*goes on by itself") as error:
            call(store)
        told.add(error.value.detail)
    assert (server.unanswered, len(told)) == (calls, 1)


@pytest.mark.usefixtures("impatient")
def test_a_lease_outlives_a_server_that_hangs_for_a_moment(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = LaxS3(conditions=True)
    store = open_objects(at(server))
    lease = acquire(store, "jobs/p/train.json", "train p", 60)
    server.hangs = True
    assert [lease.renew() for _ in range(3)] == [True] * 3
    assert server.unanswered == 2
    server.hangs = False
    monkeypatch.setattr(objects_s3, "SILENT_S", 0.0)
    assert lease.confirm()
    assert held_by(store, lease.key) == lease.nonce


@pytest.mark.usefixtures("impatient")
def test_a_job_that_waits_for_a_server_that_hangs_goes_on_when_it_answers(
    at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, told = LaxS3(conditions=True), []
    store = open_objects(at(server))
    store.put("key", b"1")
    server.hangs = True
    monkeypatch.setattr(objects_s3, "SILENT_S", 1.0)

    def tell(why: str | None) -> None:
        told.append(why)
        server.hangs = False

    assert Patience(300, tell)(lambda: store.get("key")).body == b"1"  # type: ignore[union-attr]
    assert (server.unanswered, len(told), told[-1]) == (1, 2, None)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("begins", "calls"), [("before", 1), ("after the source answered", 2)])
def test_a_fetch_whose_store_hangs_waits_for_one_call_and_ends_as_a_503(
    at: Any, serve: Any, begins: str, calls: int
) -> None:
    server, source, asked = LaxS3(conditions=True), Flask("source"), []

    @source.get("/data")
    def data() -> dict[str, Any]:
        asked.append(1)
        server.hangs = True
        return {"group_number": 1, "batch_number": 1, "data": made_up_rows(5)}

    settings = at(server, "covertype", COVERTYPE_API_URL=serve(source).url)
    client = create_app(settings).test_client()
    server.hangs = begins == "before"
    answer = client.post("/covertype")
    assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:store-unavailable")
    assert "this goes on by itself" in answer.json["detail"]
    assert server.unanswered == calls
    waiting = list((settings.scratch / "waiting" / "covertype").glob("*.json"))
    assert len(waiting) == len(asked) == (begins != "before")
