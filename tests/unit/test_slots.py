"""How many calls of a worker compute at once, and how many stream their answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from all_settings import AllSettings as Settings
from classify.slots import ROW_SLOTS, STREAMS, Slots
from common.admission import Admission
from common.errors import Busy

QUEUE_S = 0.05


@pytest.mark.parametrize(("kind", "count"), [("tabular", ROW_SLOTS), ("image", 1)])
def test_a_call_gets_the_next_free_slot_or_is_refused_after_queue_s(tmp_path: Path, kind: Any, count: int) -> None:
    slots = Slots(QUEUE_S, tmp_path)
    finish, inside = threading.Event(), threading.Barrier(count + 1, timeout=20)

    def hold() -> None:
        with slots.compute(kind):
            inside.wait()
            finish.wait()

    holders = [threading.Thread(target=hold, daemon=True) for _ in range(count)]
    for thread in holders:
        thread.start()
    inside.wait()
    with pytest.raises(Busy, match=f"within {QUEUE_S} s") as refused, slots.compute(kind):
        pass
    assert (refused.value.status, refused.value.retry_after_s) == (503, 2)
    finish.set()
    for thread in holders:
        thread.join()
    with slots.compute(kind):
        pass


def test_a_streamed_answer_holds_its_stream_until_it_is_closed(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    slots = Slots(QUEUE_S, tmp_path)

    @Request.application
    def app(request: Request) -> Response:
        slots.begin_stream(request.environ)
        chunks: Iterator[bytes] = iter([b"chunk"])
        return Response(chunks)

    client = Client(Admission(make_settings()).wrap(app))
    unread = [client.post(buffered=False) for _ in range(STREAMS)]
    with pytest.raises(Busy, match="limit of streamed answers"):
        client.post()
    unread[0].close()
    assert client.post(buffered=True).data == b"chunk"
    for answer in unread[1:]:
        answer.close()
