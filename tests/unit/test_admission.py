"""What a worker takes on at once: places, slots, room for bodies, streams; what is beyond is told to come again."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from common.admission import READING, SLOTS, SMALL, STREAMS, Admission
from common.errors import Busy, Malformed, TooLarge
from common.settings import Settings
from common.web import make_app

QUEUE_S = "0.05"
LARGE = bytes(2_000_000)


@pytest.fixture
def admission(make_settings: Callable[..., Settings]) -> Admission:
    """One with 3 places, and room for 3 MB."""
    return Admission(make_settings(SABUESO_CALLS="3", SABUESO_QUEUE_S=QUEUE_S, SABUESO_MAX_BODY_MB="3"))


@pytest.fixture
def ask(admission: Admission) -> Callable[..., Any]:
    """ask(do, body): `do(request)` within a call that has this body; its answer's text, read to its end."""

    def send(do: Callable[[Request], Any], body: bytes = b"", **more: Any) -> Any:
        @Request.application
        def app(request: Request) -> Response:
            return Response(do(request))

        return Client(admission.around(app)).post(data=body, **more)

    return send


def test_a_call_beyond_the_places_is_refused_at_once_and_a_place_is_free_after_the_answer(
    admission: Admission, ask: Callable[..., Any]
) -> None:
    def nested(depth: int) -> Callable[[Request], str]:
        def do(request: Request) -> str:
            admission.take_place(request.environ)
            return "" if depth == 1 else str(ask(nested(depth - 1)).text)

        return do

    for _ in range(2):
        assert ask(nested(3)).status_code == 200
        with pytest.raises(Busy, match="as many calls"):
            ask(nested(4))


def test_a_place_is_free_after_an_error_too(admission: Admission, ask: Callable[..., Any]) -> None:
    def fail(request: Request) -> str:
        admission.take_place(request.environ)
        raise Malformed("no")

    for _ in range(5):
        with pytest.raises(Malformed):
            ask(fail)


@pytest.mark.parametrize(("kind", "slots"), [("tabular", SLOTS), ("image", 1)])
def test_who_waits_for_a_slot_gets_the_next_one_or_is_refused_after_the_queue_s_time(
    admission: Admission, kind: str, slots: int
) -> None:
    gate, inside = threading.Event(), threading.Barrier(slots + 1, timeout=20)

    def hold() -> None:
        with admission.slot(kind):
            inside.wait()
            gate.wait()

    holding = [threading.Thread(target=hold, daemon=True) for _ in range(slots)]
    for thread in holding:
        thread.start()
    inside.wait()
    with pytest.raises(Busy, match=f"within {QUEUE_S} s") as refused, admission.slot(kind):
        pass
    assert (refused.value.status, refused.value.retry_after_s) == (503, 2)
    gate.set()
    for thread in holding:
        thread.join()
    with admission.slot(kind):
        pass


def test_bodies_beyond_the_room_wait_for_it_and_small_ones_need_none(
    admission: Admission, ask: Callable[..., Any]
) -> None:
    def read(request: Request) -> int:
        return len(admission.read_body(request.environ).getvalue())

    def with_another(body: bytes) -> Callable[[Request], str]:
        def do(request: Request) -> str:
            read(request)
            return str(ask(lambda other: str(read(other)), body).text)

        return do

    assert ask(with_another(bytes(SMALL)), LARGE).text == str(SMALL)
    with pytest.raises(Busy, match="large bodies"):
        ask(with_another(LARGE), LARGE)
    assert ask(with_another(LARGE), b"small").text == str(len(LARGE))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_is_refused(admission: Admission, ask: Callable[..., Any], chunked: bool) -> None:
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"} if chunked else {}

    def read(request: Request) -> str:
        if chunked:
            request.environ.pop("CONTENT_LENGTH")
        return str(len(admission.read_body(request.environ).getvalue()))

    assert ask(read, bytes(3_000_000), environ_overrides=environ).text == "3000000"
    with pytest.raises(TooLarge, match="SABUESO_MAX_BODY_MB"):
        ask(read, bytes(3_000_001), environ_overrides=environ)


def test_a_body_that_is_shorter_than_it_says_is_refused(admission: Admission, ask: Callable[..., Any]) -> None:
    def read(request: Request) -> str:
        request.environ["wsgi.input"] = io.BytesIO(b"half")
        return str(admission.read_body(request.environ))

    with pytest.raises(Malformed, match="ended after 4 of 8 bytes"):
        ask(read, b"8 bytes.")


def test_an_answer_that_is_made_while_it_is_sent_keeps_its_place_until_it_is_closed(
    admission: Admission, ask: Callable[..., Any]
) -> None:
    def stream(request: Request) -> Iterator[bytes]:
        admission.begin_stream(request.environ)
        return iter([b"part"])

    unread = [ask(stream, buffered=False) for _ in range(STREAMS)]
    with pytest.raises(Busy, match="still being read"):
        ask(stream)
    unread[0].close()
    assert ask(stream, buffered=True).data == b"part"
    for answer in unread[1:]:
        answer.close()


def test_health_readiness_and_metrics_are_answered_while_all_places_are_taken(
    make_settings: Callable[..., Settings],
) -> None:
    app = make_app("classify", make_settings(SABUESO_CALLS="1"), {})
    client = app.test_client()

    @app.get("/within")
    def within() -> list[int]:
        return [client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics", "/openapi.json")]

    assert client.get("/within").json == [200, 200, 200, 503]


def test_what_came_of_a_body_that_is_refused_as_too_slow_is_not_kept(
    admission: Admission, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.admission.BODY_S", 0.1)
    go, found = threading.Event(), []

    class Slow:
        """An input that stalls after its first part."""

        def read(self, size: int) -> bytes:
            if found:
                go.wait(20)
            found.append(size)
            return bytes(size)

    def read(request: Request) -> str:
        request.environ["wsgi.input"] = Slow()
        try:
            admission.read_body(request.environ)
        finally:
            reading.append(request.environ[READING])
        return ""

    reading: list[Any] = []
    with pytest.raises(Malformed, match="did not come within"):
        ask(read, bytes(200_000))
    go.set()
    assert isinstance(reading[0].exception(20), ValueError)  # the buffer is closed


def test_methods_that_nobody_knows_are_counted_as_one(make_settings: Callable[..., Settings]) -> None:
    client = make_app("classify", make_settings(), {}).test_client()
    for number in range(3):
        assert client.open("/openapi.json", method=f"MADEUP{number}").status_code == 405
    text = client.get("/metrics").text
    assert "MADEUP" not in text
    assert 'method="other",route="none",status="405"} 3.0' in text
