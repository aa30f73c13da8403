"""Calls from pages of other origins (CORS): allowed for SABUESO_CORS_ORIGINS, otherwise the browser refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from all_settings import AllSettings as Settings
from classify.app import create_app as create_classify
from common.web import answer, make_app
from fetch_batch.app import create_app as create_fetch
from train.app import create_app as create_train

ORIGIN, OTHER = "https://ana.github.io", "https://evil.example"
ALLOW = "Access-Control-Allow-"

Start = Callable[..., FlaskClient]


@pytest.fixture
def start(make_settings: Callable[..., Settings]) -> Start:
    """start(ORIGINS, METHODS): an app for two origins, if no others are given."""

    def make(
        origins: str = f"{ORIGIN} http://localhost:8000", methods: tuple[str, ...] = ("GET", "POST"), **more: str
    ) -> FlaskClient:
        settings = make_settings(SABUESO_CORS_ORIGINS=origins, **more)
        app = make_app("classify", settings, {}, cors_methods=methods)
        client = app.test_client()

        @app.route("/", methods=["GET", "POST"])
        def echo() -> Response:
            return answer({})

        @app.get("/broken")
        def broken() -> Response:
            raise RuntimeError("a bug")

        @app.get("/within")
        def within() -> Response:
            return answer({"call": described(client.get("/", headers={"Origin": ORIGIN})), "preflight": status()})

        def status() -> int:
            return preflight(client).status_code

        return client

    return make


def preflight(
    client: FlaskClient,
    origin: str = ORIGIN,
    method: str = "POST",
    headers: str = "content-type",
    path: str = "/",
) -> Any:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return client.options(path, headers={"Origin": origin, **asked})


def cors_headers(response: Any) -> dict[str, str]:
    return {name: value for name, value in response.headers if name.startswith("Access-Control-")}


def described(response: Any) -> list[Any]:
    return [response.status_code, response.headers.get(f"{ALLOW}Origin")]


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:8000"])
def test_a_page_of_a_listed_origin_may_read_the_answer_and_two_headers(start: Start, origin: str) -> None:
    response = start().get("/", headers={"Origin": origin})
    assert cors_headers(response) == {
        f"{ALLOW}Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After, X-Request-Id",
    }


@pytest.mark.parametrize(
    "origin",
    [OTHER, "http://ana.github.io", f"{ORIGIN}:8443", f"{ORIGIN}.evil.example", "https://anaXgithub.io", "null", None],
)
def test_any_other_page_may_not(start: Start, origin: str | None) -> None:
    client = start()
    headers = {"Origin": origin} if origin else {}
    assert cors_headers(client.get("/", headers=headers)) == {}
    if origin:
        assert cors_headers(preflight(client, origin)) == {}


def test_by_default_no_page_of_another_origin_may(start: Start) -> None:
    client = start("")
    for response in (client.get("/", headers={"Origin": ORIGIN}), preflight(client)):
        assert cors_headers(response) == {} and "Vary" not in response.headers


@pytest.mark.parametrize("origin", [OTHER, "null"])
def test_an_asterisk_allows_every_page(start: Start, origin: str) -> None:
    client = start("*")
    assert client.get("/", headers={"Origin": origin}).headers[f"{ALLOW}Origin"] == "*"
    assert preflight(client, origin).headers[f"{ALLOW}Headers"] == "content-type"


def test_a_preflight_allows_a_body_with_its_type_for_an_hour(start: Start) -> None:
    response = preflight(start())
    assert response.status_code == 200
    assert cors_headers(response) == {
        f"{ALLOW}Origin": ORIGIN,
        f"{ALLOW}Methods": "GET, POST",
        f"{ALLOW}Headers": "content-type",
        "Access-Control-Expose-Headers": "Retry-After, X-Request-Id",
        "Access-Control-Max-Age": "3600",
    }


def test_a_page_may_send_neither_a_token_nor_cookies_nor_a_post_where_only_get_is_allowed(start: Start) -> None:
    token = preflight(start(), headers="authorization, content-type")
    assert token.headers[f"{ALLOW}Headers"] == "content-type"
    posted = preflight(start(methods=("GET",)))
    assert f"{ALLOW}Headers" not in posted.headers and f"{ALLOW}Methods" not in posted.headers
    assert f"{ALLOW}Credentials" not in token.headers


@pytest.mark.parametrize("origins", [ORIGIN, f"{ORIGIN},http://localhost:8000", "*"])
@pytest.mark.parametrize("origin", [ORIGIN, OTHER, None])
def test_a_cache_keeps_the_answers_to_different_origins_apart(start: Start, origins: str, origin: str | None) -> None:
    response = start(origins).get("/", headers={"Origin": origin} if origin else {})
    assert response.headers.getlist("Vary") == ["Origin"]


def test_a_page_may_read_every_error(start: Start) -> None:
    client = start(SABUESO_MAX_BODY_MB="0.001")
    headers = {"Origin": ORIGIN}
    for status, response in {
        404: client.get("/a/b/c", headers=headers),
        405: client.put("/", headers=headers),
        413: client.post("/", data=bytes(2000), headers=headers),
        500: client.get("/broken", headers=headers),
    }.items():
        assert described(response) == [status, ORIGIN]
        assert response.headers.getlist("Vary") == ["Origin"] and response.json["status"] == status


@pytest.mark.parametrize(
    ("create_app", "headers"), [(create_classify, "content-type"), (create_train, None), (create_fetch, None)]
)
def test_pages_may_post_to_classify_and_only_read_the_others(
    make_settings: Callable[..., Settings], create_app: Callable[[Settings], Flask], headers: str | None
) -> None:
    client = create_app(make_settings("flowers", SABUESO_CORS_ORIGINS=ORIGIN)).test_client()
    assert client.get("/openapi.json", headers={"Origin": ORIGIN}).headers[f"{ALLOW}Origin"] == ORIGIN
    assert preflight(client, path="/flowers").headers.get(f"{ALLOW}Headers") == headers


def test_a_preflight_needs_no_place_and_a_page_may_read_that_there_is_none(start: Start) -> None:
    response = start(SABUESO_CALLS="1").get("/within", headers={"Origin": ORIGIN})
    assert response.json["call"] == [503, ORIGIN]
    assert response.json["preflight"] == 200


def test_a_preflight_is_not_logged_as_a_failure(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    client = start()
    with caplog.at_level(logging.INFO, "sabueso"):
        preflight(client)
        preflight(client, OTHER)
        preflight(client, method="PUT")
    assert [record for record in caplog.records if record.name == "sabueso"] == []
