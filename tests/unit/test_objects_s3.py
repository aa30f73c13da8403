"""What the S3 store does of a server that misbehaves: one that ignores conditions, and one that falters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request

from common import objects_s3
from common.errors import StoreUnavailable, WrongSettings
from common.objects import open_objects
from common.settings import Settings


class LaxS3:
    """The least of S3 over a dict; `conditions` says whether it keeps them, `ill` how often it answers 503 first."""

    def __init__(self, conditions: bool, ill: int = 0, code: str = "SlowDown") -> None:
        self.conditions, self.ill, self.code = conditions, ill, code
        self.objects: dict[str, bytes] = {}
        self.puts = 0
        self.app = Flask("s3")
        self.app.add_url_rule("/<path:key>", view_func=self.call, methods=["GET", "PUT"])

    def call(self, key: str) -> Response:
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
            self.objects[key], headers={"ETag": etag, "Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT"}, mimetype="a/b"
        )

    def refuse(self, status: int, code: str) -> Response:
        return Response(f"<Error><Code>{code}</Code></Error>", status, mimetype="application/xml")


@pytest.fixture
def at(make_settings: Callable[..., Settings], serve: Any, secrets: Path) -> Callable[[LaxS3], Settings]:
    for name in ("s3-access-key", "s3-secret-key"):
        (secrets / name).write_text("a-secret-text")
    return lambda server: make_settings(SABUESO_STORE="s3://bucket", AWS_ENDPOINT_URL_S3=serve(server.app).url)


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
