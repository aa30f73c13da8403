"""The gateway of infra/containers.yaml with a real nginx: the paths of OpenFaaS, and the door in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from conftest import Served
from door import Nginx, PlainGateway, call, make_gateway
from ports import free_port

pytestmark = [pytest.mark.integration, pytest.mark.full]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainGateway]:
    """Before two echoes; train is not there."""
    served = {name: Served(make_gateway()) for name in ("fetch-batch", "classify")}
    where = {name: one.url.removeprefix("http://") for name, one in served.items()}
    found = PlainGateway(tmp_path_factory.mktemp("gateway"), {**where, "train": f"127.0.0.1:{free_port()}"})
    with found:
        yield found
    for one in served.values():
        one.stop()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("/function/classify", "/"),
        ("/function/classify/", "/"),
        ("/function/classify/pets?explain=1&x=a%20b", "/pets?explain=1&x=a%20b"),
        ("/function/classify/a%20name%2Fwith%25", "/a%20name/with%25"),
        ("/function/fetch-batch/covertype", "/covertype"),
    ],
)
def test_a_function_gets_the_path_after_its_name(gateway: PlainGateway, asked: str, told: str) -> None:
    found = requests.get(gateway.url + asked, timeout=30).json()
    assert found["raw"] == told


def test_a_body_and_an_answer_pass_as_they_are(gateway: PlainGateway) -> None:
    large = requests.post(f"{gateway.url}/function/classify/pets", data=b"x" * 20_000_000, timeout=30)
    assert large.json()["size"] == 20_000_000
    refused = requests.post(f"{gateway.url}/function/classify/pets/answer/503", timeout=30)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "15")
    assert refused.headers["X-Request-Id"] == "the-function's"
    empty = requests.post(f"{gateway.url}/function/fetch-batch", timeout=30).json()
    assert (empty["method"], empty["path"], empty["size"]) == ("POST", "/", 0)


def test_a_function_that_is_away_is_502_and_others_answer(gateway: PlainGateway) -> None:
    assert requests.get(f"{gateway.url}/function/train/pets", timeout=30).status_code == 502
    assert requests.get(f"{gateway.url}/function/classify", timeout=30).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/system/functions", "/async-function/classify", "/function/", "/function/other", "/function/classifyx"],
)
def test_there_is_nothing_else(gateway: PlainGateway, path: str) -> None:
    assert requests.get(gateway.url + path, timeout=30).status_code == 404
    assert requests.post(gateway.url + path, timeout=30).status_code == 404


def test_the_door_stands_before_it_as_before_any_gateway(
    gateway: PlainGateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Nginx(tmp_path_factory.mktemp("door"), gateway.url) as door:
        assert call(door, "GET", "/function/classify/pets").json()["raw"] == "/pets"
        assert call(door, "POST", "/function/fetch-batch").status_code == 404
        away = call(door, "GET", "/function/train/pets")
        assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
