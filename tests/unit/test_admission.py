"""The load limits of a worker: calls at once, memory for bodies, slow and short bodies."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from all_settings import AllSettings as Settings
from common.admission import CALL, READING, UNBUDGETED_BYTES, Admission
from common.errors import Busy, Malformed, TooLarge
from common.web import make_app
from conftest import wait_until

LARGE = bytes(2_000_000)


@pytest.fixture
def admission(make_settings: Callable[..., Settings]) -> Admission:
    """3 calls at once, and 3 MB for large bodies."""
    return Admission(make_settings(SABUESO_CALLS="3", SABUESO_QUEUE_S="0.05", SABUESO_MAX_BODY_MB="3"))


@pytest.fixture
def call(admission: Admission) -> Callable[..., Any]:
    """call(handle, body): the answer with the text that `handle(request)` returns."""

    def send(handle: Callable[[Request], Any], body: bytes = b"", **options: Any) -> Any:
        @Request.application
        def app(request: Request) -> Response:
            return Response(handle(request))

        return Client(admission.wrap(app)).post(data=body, **options)

    return send


def test_a_call_above_the_limit_is_refused_after_queue_s_and_an_answer_frees_its_place(
    admission: Admission, call: Callable[..., Any]
) -> None:
    def nested(depth: int) -> Callable[[Request], str]:
        def handle(request: Request) -> str:
            admission.take_place(request.environ)
            return "" if depth == 1 else str(call(nested(depth - 1)).text)

        return handle

    for _ in range(2):
        assert call(nested(3)).status_code == 200
        with pytest.raises(Busy, match="limit of concurrent calls"):
            call(nested(4))


def test_a_call_above_the_limit_gets_the_next_free_place(make_settings: Callable[..., Settings]) -> None:
    admission = Admission(make_settings(SABUESO_CALLS="1", SABUESO_QUEUE_S="60"))
    with ExitStack() as first, ExitStack() as second:
        admission.take_place({CALL: first})
        waiting = threading.Thread(target=admission.take_place, args=({CALL: second},), daemon=True)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        first.close()
        waiting.join(20)
        assert not waiting.is_alive()


def test_a_call_is_refused_at_once_if_too_many_wait(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.admission.WAITING", 2)
    admission = Admission(make_settings(SABUESO_CALLS="1", SABUESO_QUEUE_S="60"))
    refused = list[Busy]()

    def wait() -> None:
        try:
            with ExitStack() as call:
                admission.take_place({CALL: call})
        except Busy as error:
            refused.append(error)

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    with ExitStack() as first:
        admission.take_place({CALL: first})
        for thread in threads:
            thread.start()
        wait_until(lambda: refused)
        assert "too many calls wait" in refused[0].detail
    for thread in threads:
        thread.join(20)
    assert (len(refused), sum(thread.is_alive() for thread in threads)) == (1, 0)


def test_an_error_frees_the_place(admission: Admission, call: Callable[..., Any]) -> None:
    def fail(request: Request) -> str:
        admission.take_place(request.environ)
        raise Malformed("no")

    for _ in range(5):
        with pytest.raises(Malformed):
            call(fail)


def test_large_bodies_wait_for_memory_and_small_ones_need_none(admission: Admission, call: Callable[..., Any]) -> None:
    def read(request: Request) -> int:
        return len(admission.read_body(request.environ).getvalue())

    def read_with_another(body: bytes) -> Callable[[Request], str]:
        def handle(request: Request) -> str:
            read(request)
            return str(call(lambda other: str(read(other)), body).text)

        return handle

    assert call(read_with_another(bytes(UNBUDGETED_BYTES)), LARGE).text == str(UNBUDGETED_BYTES)
    with pytest.raises(Busy, match="limit of large bodies"):
        call(read_with_another(LARGE), LARGE)
    assert call(read_with_another(LARGE), b"small").text == str(len(LARGE))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_is_refused(admission: Admission, call: Callable[..., Any], chunked: bool) -> None:
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"} if chunked else {}

    def read(request: Request) -> str:
        if chunked:
            request.environ.pop("CONTENT_LENGTH")
        return str(len(admission.read_body(request.environ).getvalue()))

    assert call(read, bytes(3_000_000), environ_overrides=environ).text == "3000000"
    with pytest.raises(TooLarge, match="SABUESO_MAX_BODY_MB"):
        call(read, bytes(3_000_001), environ_overrides=environ)


def test_a_body_shorter_than_its_content_length_is_refused(admission: Admission, call: Callable[..., Any]) -> None:
    def read(request: Request) -> str:
        request.environ["wsgi.input"] = io.BytesIO(b"half")
        return str(admission.read_body(request.environ))

    with pytest.raises(Malformed, match="ended after 4 of 8 bytes"):
        call(read, b"8 bytes.")


def test_probes_are_answered_at_the_limit_of_calls(make_settings: Callable[..., Settings]) -> None:
    app = make_app("classify", make_settings(SABUESO_CALLS="1", SABUESO_QUEUE_S="0.05"), {})
    client = app.test_client()

    @app.get("/within")
    def within() -> list[int]:
        return [client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics", "/openapi.json")]

    assert client.get("/within").json == [200, 200, 200, 503]


def test_a_body_that_arrives_too_slowly_is_refused_and_its_memory_freed(
    admission: Admission, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.admission.BODY_S", 0.1)
    resume, sizes, readings = threading.Event(), list[int](), list[Any]()

    class Stalling:
        """An input that stalls after its first read."""

        def read(self, size: int) -> bytes:
            if sizes:
                resume.wait(20)
            sizes.append(size)
            return bytes(size)

    def read(request: Request) -> str:
        request.environ["wsgi.input"] = Stalling()
        try:
            admission.read_body(request.environ)
        finally:
            readings.append(request.environ[READING])
        return ""

    with pytest.raises(Malformed, match="did not arrive within"):
        call(read, bytes(200_000))
    resume.set()
    assert isinstance(readings[0].exception(20), ValueError)  # writing to a closed buffer


def test_unknown_methods_share_one_metric(make_settings: Callable[..., Settings]) -> None:
    client = make_app("classify", make_settings(), {}).test_client()
    for number in range(3):
        assert client.open("/openapi.json", method=f"MADEUP{number}").status_code == 405
    text = client.get("/metrics").text
    assert "MADEUP" not in text
    assert 'method="other",route="none",status="405"} 3.0' in text
