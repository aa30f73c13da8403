"""How many calls of a worker compute at once, and how many stream their answer."""

from __future__ import annotations

import subprocess
import sys
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


def test_large_inputs_go_one_by_one_through_all_workers(tmp_path: Path) -> None:
    """Each worker has its own slots; the lock file is common to them."""
    one, other = Slots(QUEUE_S, tmp_path), Slots(QUEUE_S, tmp_path)
    with one.compute("image", is_large=True):
        with pytest.raises(Busy, match="no other large input was done within"), other.compute("tabular", is_large=True):
            pass
        with other.compute("image"), other.compute("tabular"):
            pass
    with other.compute("image", is_large=True):
        pass


def test_a_worker_that_dies_frees_the_lock_of_large_inputs(tmp_path: Path) -> None:
    script = f"""
import os
from pathlib import Path
from classify.slots import Slots
with Slots(1, Path({str(tmp_path)!r})).compute("image", is_large=True):
    os._exit(1)
"""
    functions = Path(__file__).parents[2] / "functions"
    done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(functions)}, check=False)
    assert done.returncode == 1
    with Slots(QUEUE_S, tmp_path).compute("tabular", is_large=True):
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
