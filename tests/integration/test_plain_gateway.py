"""The gateway of infra/containers.yaml with a real nginx: OpenFaaS's paths, and the reverse proxy in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from conftest import Served
from ports import free_port
from reverse_proxy import Nginx, PlainGateway, call, make_gateway

pytestmark = [pytest.mark.integration, pytest.mark.full]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainGateway]:
    """In front of two echo servers; train is down."""
    echoes = {name: Served(make_gateway()) for name in ("fetch-batch", "classify")}
    addresses = {name: one.url.removeprefix("http://") for name, one in echoes.items()}
    plain = PlainGateway(tmp_path_factory.mktemp("gateway"), {**addresses, "train": f"127.0.0.1:{free_port()}"})
    with plain:
        yield plain
    for one in echoes.values():
        one.stop()


@pytest.mark.parametrize(
    ("path", "forwarded"),
    [
        ("/function/classify", "/"),
        ("/function/classify/", "/"),
        ("/function/classify/pets?explain=1&x=a%20b", "/pets?explain=1&x=a%20b"),
        ("/function/classify/a%20name%2Fwith%25", "/a%20name/with%25"),
        ("/function/fetch-batch/covertype", "/covertype"),
    ],
)
def test_a_function_gets_the_path_after_its_name(gateway: PlainGateway, path: str, forwarded: str) -> None:
    echo = requests.get(gateway.url + path, timeout=30).json()
    assert echo["raw"] == forwarded


def test_bodies_and_answers_pass_unchanged(gateway: PlainGateway) -> None:
    large = requests.post(f"{gateway.url}/function/classify/pets", data=b"x" * 20_000_000, timeout=30)
    assert large.json()["size"] == 20_000_000
    refused = requests.post(f"{gateway.url}/function/classify/pets/answer/503", timeout=30)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "15")
    assert refused.headers["X-Request-Id"] == "the-function's"
    empty = requests.post(f"{gateway.url}/function/fetch-batch", timeout=30).json()
    assert (empty["method"], empty["path"], empty["size"]) == ("POST", "/", 0)


def test_a_function_that_is_down_is_502_and_the_others_answer(gateway: PlainGateway) -> None:
    assert requests.get(f"{gateway.url}/function/train/pets", timeout=30).status_code == 502
    assert requests.get(f"{gateway.url}/function/classify", timeout=30).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/system/functions", "/async-function/classify", "/function/", "/function/other", "/function/classifyx"],
)
def test_every_other_path_is_404(gateway: PlainGateway, path: str) -> None:
    assert requests.get(gateway.url + path, timeout=30).status_code == 404
    assert requests.post(gateway.url + path, timeout=30).status_code == 404


def test_the_reverse_proxy_works_in_front_of_it(
    gateway: PlainGateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Nginx(tmp_path_factory.mktemp("proxy"), gateway.url) as proxy:
        assert call(proxy, "GET", "/function/classify/pets").json()["raw"] == "/pets"
        assert call(proxy, "POST", "/function/fetch-batch").status_code == 404
        down = call(proxy, "GET", "/function/train/pets")
        assert (down.status_code, down.headers["Retry-After"]) == (503, "5")
