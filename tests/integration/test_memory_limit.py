"""No body kills or stalls classify within the memory of stack.yml, sent to every slot of all workers at once."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from common.inference.pictures import decode_picture, square_view
from conftest import together
from costly_calls import KIN, KNOWN, Costly
from costly_pictures import jpeg
from deployed import Function, environment_alone
from limited import Limited, limited, limited_classify
from local.made_up_rows import COLUMNS, made_up_rows

pytestmark = [pytest.mark.integration, pytest.mark.full]
# Every slot of two workers, and calls that wait for one.
CALLERS = 8
DECODES = 40
WAIT_S = 120


@pytest.fixture(scope="module")
def classify(large_bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    with limited_classify(tmp_path_factory.mktemp("limited"), large_bundles) as found:
        yield found


@pytest.fixture(scope="module")
def decode_s() -> float:
    """CPU seconds that decoding a plain photograph of 12 megapixels takes on this machine."""
    chance = np.random.default_rng(1)
    coarse = Image.fromarray(chance.integers(0, 256, (200, 266, 3), dtype=np.uint8)).resize((4000, 3000))
    noise = chance.normal(0, 6, (3000, 4000, 1)).astype(np.int16)
    file = io.BytesIO()
    Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)

    def once() -> float:
        before = time.thread_time()
        decode_picture(file.getvalue(), square_view(160))
        return time.thread_time() - before

    return sorted(once() for _ in range(5))[2]


def post(classify: Limited, call: Costly) -> requests.Response:
    url = f"{classify.function.url}/{call.path}"
    return requests.post(url, call.body, headers={"Content-Type": call.content_type}, timeout=WAIT_S)


def check(classify: Limited, call: Costly, decode_s: float) -> None:
    """Alone it costs at most 40 decodes; at every slot at once it kills nobody; the next call is answered."""
    pids = [process.pid for process in classify.processes()]
    before = classify.cpu_s()
    answer = post(classify, call)
    cost = classify.cpu_s() - before
    assert answer.status_code == call.status, answer.text[:500]
    answers = together(*[lambda: post(classify, call)] * CALLERS)
    assert {one.status_code for one in answers} <= {call.status, 503}
    assert not classify.was_killed(), f"killed for memory at {classify.peak_mb():.0f} MB"
    assert [process.pid for process in classify.processes()] == pids
    row = dict(zip(COLUMNS[:-1], made_up_rows(1, 1)[0], strict=False))
    assert requests.post(f"{classify.function.url}/covertype", json=row, timeout=WAIT_S).status_code == 200
    if not call.is_work:
        assert cost < DECODES * decode_s, f"{cost:.2f} s, {cost / decode_s:.0f} decodes"
    print(
        f"{cost:.2f} s, {cost / decode_s:.0f} decodes; peak {classify.peak_mb():.0f} MB, now {classify.pss_mb():.0f} MB"
    )


@pytest.mark.parametrize("name", [*KNOWN, *KIN])
def test_no_body_kills_or_stalls_classify(classify: Limited, decode_s: float, name: str) -> None:
    check(classify, {**KNOWN, **KIN}[name](), decode_s)


def test_no_picture_kills_fetch_batch(secrets: Path, tmp_path: Path) -> None:
    """Collected at full size, one folder by two calls at once."""
    calls = [make() for make in {**KNOWN, **KIN}.values()]
    pictures = [call.body for call in calls if call.content_type == "image/x"]
    pictures += [jpeg(8000, 6500, components, orientation=6) for components in (1, 3, 4)]
    for number, body in enumerate(pictures):
        file = tmp_path / "source" / ("cat", "dog")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    environment = {
        **environment_alone("fetch-batch", tmp_path),
        "PETS_SOURCE": str(tmp_path / "source"),
        "SABUESO_MIN_INTERVAL_S": "0.01",
    }
    with limited(Function("fetch-batch", int(environment["PORT"]), environment, tmp_path)) as fetch_batch:
        url = f"{fetch_batch.function.url}/pets"
        pids = [process.pid for process in fetch_batch.processes()]
        results: list[dict[str, Any]] = []
        while not any(result["status"] == "complete" for result in results[-2:]):
            answers = together(*[lambda: requests.post(url, timeout=WAIT_S)] * 2)
            assert {answer.status_code for answer in answers} == {200}
            results += [answer.json()["results"][0] for answer in answers]
            assert len(results) < 2 * len(pictures) + 10
        assert not fetch_batch.was_killed(), f"killed for memory at {fetch_batch.peak_mb():.0f} MB"
        assert [process.pid for process in fetch_batch.processes()] == pids
        print(f"peak {fetch_batch.peak_mb():.0f} of {fetch_batch.limit / 1e6:.0f} MB")
    assert sum(result["stored"] + result["duplicate"] for result in results) >= len(set(pictures))
    assert sum(result["quarantined"] for result in results) == sum(
        call.status == 422 for call in calls if call.content_type == "image/x"
    )
