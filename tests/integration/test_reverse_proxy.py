"""The reverse proxy (infra/nginx) with a real nginx, in front of an echo as gateway."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask, Response

from conftest import Served
from reverse_proxy import Nginx, by_socket, call, make_gateway, problem_of
from servers import ROOT
from shapes import validate

pytestmark = [pytest.mark.integration, pytest.mark.full]
TOKEN = {"Authorization": "Bearer a-token"}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    served = Served(make_gateway())
    yield served
    served.stop()


Open = Callable[..., Nginx]


@pytest.fixture(scope="module")
def open_proxy(tmp_path_factory: pytest.TempPathFactory, gateway: Served) -> Iterator[Open]:
    opened: list[Nginx] = []

    def start(**options: Any) -> Nginx:
        url = options.pop("gateway_url", gateway.url)
        opened.append(Nginx(tmp_path_factory.mktemp("proxy"), url, **options))
        opened[-1].start()
        return opened[-1]

    yield start
    for proxy in opened:
        proxy.stop()


@pytest.fixture(scope="module")
def proxy(open_proxy: Open) -> Nginx:
    return open_proxy()


ALLOWED = [
    *[("GET", f"/function/classify{rest}") for rest in ("", "/", "/pets", "/openapi.json", "/pets?explain=1")],
    *[(method, "/function/classify/pets") for method in ("POST", "OPTIONS", "HEAD")],
    ("POST", "/function/classify/pets?explain=1"),
    ("POST", "/function/classify/pets/feedback"),
    *[("GET", f"/function/{name}/pets") for name in ("train", "fetch-batch")],
    *[("GET", f"/function/{name}/openapi.json") for name in ("train", "fetch-batch")],
]
WITH_TOKEN = [f"/function/train/pets{rest}" for rest in ("", "/cancel", "/promote", "/rollback")]
FORBIDDEN = [
    *[("POST", f"/function/fetch-batch{rest}") for rest in ("", "/", "/pets", "/pets/feedback")],
    *[("POST", f"/function/train{rest}") for rest in ("/", "", "/pets/delete", "/pets/cancel/now", "/pets/")],
    *[(method, "/function/classify/pets") for method in ("PUT", "DELETE", "PATCH")],
    *[(method, "/function/train/pets") for method in ("PUT", "DELETE", "PATCH", "OPTIONS")],
    *[
        ("GET", f"/function/{name}/{path}")
        for name in ("classify", "train")
        for path in ("metrics", "healthz", "readyz")
    ],
    ("GET", "/function/classify/metrics/"),
    ("POST", "/function/classify/healthz"),
    ("GET", "/function/other"),
    ("GET", "/function/classify-more/pets"),
    ("GET", "/function/classify.openfaas-fn/pets"),
    ("GET", "/function/"),
    ("GET", "/function"),
    ("POST", "/async-function/classify/pets"),
    ("POST", "/async-function/train/pets"),
    ("GET", "/system/functions"),
    ("POST", "/system/functions"),
    ("POST", "/system/scale-function/train"),
    ("GET", "/ui/"),
    ("GET", "/metrics"),
    ("GET", "/healthz"),
    ("POST", "/"),
    ("PUT", "/index.html"),
    ("GET", "/.git/config"),
    ("GET", "/problem/not-found"),
    ("GET", "/problem/unavailable"),
]
# The same forbidden addresses in disguise; requests would tidy some of them, so these go over a socket.
DISGUISED = [
    ("POST", "/function/classify/../fetch-batch"),
    ("POST", "/function/classify/%2e%2e/fetch-batch"),
    ("POST", "/function/classify/..%2ffetch-batch"),
    ("POST", "/function/classify/%252e%252e/fetch-batch"),
    ("POST", "/function//fetch-batch"),
    ("POST", "//function/fetch-batch"),
    ("POST", "/function/classify/pets/../../../async-function/train"),
    ("GET", "/function/classify/..%2f..%2fsystem/functions"),
    ("GET", "/function/classify/%6detrics"),
    ("GET", "/Function/classify/pets"),
    ("GET", "/function/classify\\..\\train"),
    ("GET", "/function/classify/pets;x/metrics"),
    # A line break at the end.
    *[("GET", f"/function/{path}%0a") for path in ("classify/pets", "classify/metrics", "classify", "train/pets")],
    ("POST", "/function/classify/pets%0a"),
]


def test_what_is_on_the_list_goes_through_as_it_is(proxy: Nginx) -> None:
    for method, path in ALLOWED:
        answer = call(proxy, method, path, data=b"row" if method == "POST" else None)
        assert answer.status_code == 200, (method, path)
        if method != "HEAD":
            seen = answer.json()
            assert (seen["method"], seen["raw"]) == (method, path)
            assert seen["size"] == (3 if method == "POST" else 0)


@pytest.mark.parametrize(("method", "path"), FORBIDDEN)
def test_what_is_not_on_the_list_is_not_there(proxy: Nginx, method: str, path: str) -> None:
    problem_of(call(proxy, method, path, headers=TOKEN), 404, "not-found")


@pytest.mark.parametrize(("method", "path"), DISGUISED)
def test_no_spelling_of_an_address_gets_around_the_list(proxy: Nginx, method: str, path: str) -> None:
    status, body = by_socket(proxy, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status == 404 and '"urn:sabueso:problem:not-found"' in body, body


@pytest.mark.parametrize("name", ["classify", "train"])
def test_the_gateway_gets_the_address_that_was_judged(proxy: Nginx, name: str) -> None:
    path = f"/function/./x/..//{name}/%70ets"
    status, body = by_socket(proxy, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert status == 200 and f'"raw":"/function/{name}/pets"' in body


@pytest.mark.parametrize("path", WITH_TOKEN)
def test_a_post_to_train_needs_a_token_which_goes_through(proxy: Nginx, path: str) -> None:
    for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"}):
        answer = call(proxy, "POST", path, headers=headers)
        problem_of(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    problem_of(call(proxy, "POST", f"{path}%0a", headers=TOKEN), 404, "not-found")
    through = call(proxy, "POST", path, headers=TOKEN, data=b"{}").json()
    assert through["headers"]["authorization"] == "Bearer a-token" and through["size"] == 2


def test_what_a_client_says_about_itself_is_dropped(proxy: Nginx) -> None:
    sent = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "Forwarded": "for=6.6.6.6",
        "X-Real-IP": "6.6.6.6",
        "X-Request-Id": "mine",
        "X-Call-Id": "mine",
        "X-Callback-Url": "http://evil.example/",
        "Proxy": "http://evil.example/",
    }
    seen = call(proxy, "GET", "/function/classify/pets", headers=sent).json()["headers"]
    assert seen["x-forwarded-for"] == "127.0.0.1" and seen["x-forwarded-proto"] == "https"
    assert re.fullmatch(r"[0-9a-f]{32}", seen["x-request-id"]) and seen["x-call-id"] == seen["x-request-id"]
    gone = ("x-callback-url", "x-forwarded-host", "forwarded", "x-real-ip", "proxy")
    assert not [name for name in gone if name in seen]
    assert "evil" not in str(seen) and "6.6.6.6" not in str(seen)


def test_a_functions_own_errors_stay_its_own(proxy: Nginx) -> None:
    for status in (400, 401, 404, 405, 409, 415, 422, 500, 503):
        answer = call(proxy, "GET", f"/function/classify/answer/{status}")
        assert answer.status_code == status and answer.json()["method"] == "GET"
        assert answer.headers["X-Request-Id"] == "the-function's"
    assert answer.headers["Retry-After"] == "15"


def test_a_gateway_that_can_not_reach_the_function_is_a_503(proxy: Nginx) -> None:
    for status in (502, 504):
        answer = call(proxy, "GET", f"/function/classify/answer/{status}")
        problem_of(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "5"


def test_a_gateway_that_is_down_is_a_503_and_the_site_stays(open_proxy: Open) -> None:
    proxy = open_proxy(gateway_url="http://127.0.0.1:9")
    for method, size in (("GET", 0), ("POST", 1_000_000)):
        answer = call(proxy, method, "/function/classify/pets", data=b"x" * size)
        problem_of(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "5"
    assert call(proxy, "GET", "/").status_code == 200


def test_a_body_has_a_limit_of_20_mb_for_classify_and_64_kb_elsewhere(proxy: Nginx) -> None:
    assert call(proxy, "POST", "/function/classify/pets", data=b"x" * 20_000_000).json()["size"] == 20_000_000
    assert call(proxy, "POST", "/function/train/pets", data=b"x" * 60_000, headers=TOKEN).json()["size"] == 60_000
    for path, size in (("classify/pets", 21_000_000), ("train/pets", 66_000)):
        for chunked in (False, True):
            length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
            head = f"POST /function/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n{length}\r\n\r\n"
            body = f"{size:x}\r\nand so on" if chunked else ""
            status, text = by_socket(proxy, head + body)
            assert status == 413 and '"urn:sabueso:problem:too-large"' in text, (path, chunked, text)


def test_too_many_calls_are_429_and_pages_are_not_counted(open_proxy: Open) -> None:
    proxy = open_proxy(PROXY_RATE="1r/m")
    with ThreadPoolExecutor(8) as pool:
        pages = [pool.submit(call, proxy, "GET", "/style.css") for _ in range(60)]
        assert {page.result().status_code for page in pages} == {200}
        calls = [pool.submit(call, proxy, "GET", "/function/classify/pets") for _ in range(40)]
        answers = [one.result() for one in calls]
    late = [answer for answer in answers if answer.status_code != 200]
    assert 18 <= len(late) <= 19  # of 40: the first and 20 at once pass, and one for each minute that the calls took
    for answer in late:
        problem_of(answer, 429, "too-many-requests")
        assert answer.headers["Retry-After"] == "1"


def test_a_gateways_own_429_is_told_in_our_shape(proxy: Nginx) -> None:
    answer = call(proxy, "GET", "/function/classify/answer/429")
    problem_of(answer, 429, "too-many-requests")
    assert answer.headers["Retry-After"] == "1"


ORIGINS = "https://a.example https://b.example:8443,http://localhost:8000"
ALLOWED_ORIGIN = "Access-Control-Allow-Origin"


def origin_header(answer: requests.Response) -> str | None:
    return answer.headers.get(ALLOWED_ORIGIN)


@pytest.fixture(scope="module")
def open_to_origins(open_proxy: Open) -> Nginx:
    return open_proxy(PROXY_CORS_ORIGINS=ORIGINS)


@pytest.mark.parametrize("origin", ["https://a.example", "https://b.example:8443", "http://localhost:8000"])
def test_a_page_of_a_listed_origin_may_read_the_proxys_own_errors(open_to_origins: Nginx, origin: str) -> None:
    headers = {"Origin": origin}
    # 413 and 429 replace an answer of the function, with its headers.
    for path, status, kind in (
        ("/function/nothing", 404, "not-found"),
        ("/function/classify/answer/413", 413, "too-large"),
        ("/function/classify/answer/429", 429, "too-many-requests"),
        ("/function/classify/answer/504", 503, "unavailable"),
    ):
        answer = call(open_to_origins, "GET", path, headers=headers)
        problem_of(answer, status, kind)
        assert origin_header(answer) == origin, path
        assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"


@pytest.mark.parametrize(
    "origin",
    [
        *("https://b.example", "https://a.example:8443", "http://a.example", "https://a.example.evil", "https://a"),
        *("https://aXexample", "a.example", "null", "", "https://a.example https://b.example:8443", "*"),
    ],
)
def test_a_page_of_any_other_origin_may_not(open_to_origins: Nginx, origin: str) -> None:
    assert origin_header(call(open_to_origins, "GET", "/function/nothing", headers={"Origin": origin})) is None


def test_without_origins_no_page_may_and_with_an_asterisk_every_page(proxy: Nginx, open_proxy: Open) -> None:
    headers = {"Origin": "https://a.example"}
    assert origin_header(call(proxy, "GET", "/function/nothing", headers=headers)) is None
    any_origin = open_proxy(PROXY_CORS_ORIGINS="*")
    assert origin_header(call(any_origin, "GET", "/function/nothing", headers=headers)) == "*"
    assert origin_header(call(any_origin, "GET", "/function/nothing")) is None


def test_only_a_function_says_who_may_read_its_answers(open_to_origins: Nginx, serve: Any, open_proxy: Open) -> None:
    headers = {"Origin": "https://a.example"}
    for status in (200, 400, 404, 503):
        answer = call(open_to_origins, "GET", f"/function/classify/answer/{status}", headers=headers)
        assert (answer.status_code, origin_header(answer)) == (status, "the-function's")
    silent = Flask("function")
    silent.add_url_rule("/function/classify", "own", lambda: Response("{}", headers={"X-Request-Id": "own"}))
    proxy = open_proxy(gateway_url=serve(silent).url, PROXY_CORS_ORIGINS=ORIGINS)
    assert origin_header(call(proxy, "GET", "/function/classify", headers=headers)) is None
    # The gateway itself says that there is no such function: the page retries.
    plain = call(proxy, "GET", "/function/classify/pets", headers=headers)
    assert (plain.status_code, origin_header(plain)) == (404, "https://a.example")
    assert origin_header(call(proxy, "GET", "/", headers=headers)) is None


def test_plain_http_only_leads_to_https(proxy: Nginx) -> None:
    for method, path in (("GET", "/"), ("GET", "/a/b?c=d"), ("POST", "/function/classify/pets")):
        answer = requests.request(method, proxy.plain_url + path, allow_redirects=False, timeout=30)
        assert answer.status_code == 301 and answer.headers["Location"] == proxy.url + path
    with socket.create_connection(("127.0.0.1", proxy.port), 30) as plain:
        plain.sendall(b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert f"Location: {proxy.url}/a".encode() in plain.recv(4000)


def test_what_is_no_http_is_a_400_in_our_shape(proxy: Nginx) -> None:
    status, body = by_socket(proxy, "GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n")
    assert status == 400 and '"urn:sabueso:problem:malformed"' in body


@pytest.mark.parametrize(
    ("wanted", "request_line", "header"),
    [
        (414, f"GET /{'x' * 10_000} HTTP/1.1", "A: b"),
        (431, "GET / HTTP/1.1", f"A: {'x' * 10_000}"),
        (431, "GET / HTTP/1.1", "\r\n".join(f"A{number}: {'x' * 4000}" for number in range(12))),
        (501, "POST /function/classify/pets HTTP/1.1", "Transfer-Encoding: gzip"),
        (505, "GET / HTTP/3.0", "A: b"),
    ],
)
def test_what_nginx_itself_refuses_is_told_in_our_shape(
    proxy: Nginx, wanted: int, request_line: str, header: str
) -> None:
    status, body = by_socket(proxy, f"{request_line}\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n")
    problem = json.loads(body)
    validate(problem, "problem")
    assert (status, problem["status"], problem["type"]) == (wanted, wanted, "urn:sabueso:problem:malformed")


class Links(HTMLParser):
    """src and href of a page, and its CSP."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.policy = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in ("script", "link"):
            self.found.add(str(given.get("src") or given.get("href")))
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(given["content"])


def test_the_site_is_served_with_headers_that_it_works_with(proxy: Nginx) -> None:
    page = call(proxy, "GET", "/")
    assert (page.status_code, page.headers["Content-Type"][:9]) == (200, "text/html")
    links = Links()
    links.feed(page.text)
    # The browser tests run with the page's own policy: the reverse proxy adds only what a page can't set itself.
    assert page.headers["Content-Security-Policy"] == f"{links.policy}; frame-ancestors 'none'"
    assert "unsafe" not in links.policy
    expected = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
    assert {**expected, "Server": "nginx"}.items() <= page.headers.items() and page.headers["ETag"]
    kinds = {".js": "javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for file in {*links.found, *(path.name for path in (ROOT / "static-site").glob("*.js"))}:
        answer = call(proxy, "GET", f"/{file}")
        assert answer.status_code == 200 and kinds[Path(file).suffix] in answer.headers["Content-Type"], file


def test_answers_of_functions_can_not_be_pages(proxy: Nginx) -> None:
    for path in ("/function/classify/pets", "/function/nothing"):
        headers = call(proxy, "GET", path).headers
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"  # once, though the function says it too
