"""The site on another origin than the functions: Chromium, the real classify, and the real reverse proxy."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser.fake_gateway import SITE
from browser.steps import OpenPage
from conftest import HERE, KEY, SHIPPED, Served
from deployed import Function, environment_alone
from fake_mlflow import FakeMlflow
from local.gateway import create_gateway
from local.stack import read_stack
from ports import free_port
from reverse_proxy import Nginx
from servers import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.full]
DOCUMENTED = re.compile(r"^sed -i .*? site/index\.html$", re.MULTILINE | re.DOTALL)


class SiteHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Site:
    """The folder static-site on a plain static server."""

    def __init__(self, home: Path) -> None:
        self.home = home
        shutil.copytree(SITE, home / "site")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SiteHandler, directory=str(home / "site")))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def name_server(self, server: str) -> None:
        """Put the server's address into index.html with the command of docs/operations.md."""
        shutil.copy(SITE / "index.html", self.home / "site")
        [command] = DOCUMENTED.findall((ROOT / "docs" / "operations.md").read_text(encoding="utf-8"))
        assert command.count("https://sabueso.example.org") == 2
        shell = command.replace("https://sabueso.example.org", server)
        subprocess.run(["bash", "-ec", shell], cwd=self.home, check=True)

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def site(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("elsewhere"))
    stack.callback(site.stop)
    return site


Start = Callable[[str], str]


@pytest.fixture(scope="module")
def start(stack: ExitStack, bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """start(ORIGINS): the URL of a gateway whose classify serves flowers and pets to these origins."""
    mlflow = FakeMlflow(tmp_path_factory.mktemp("mlflow"))
    for name in ("flowers", "pets"):
        mlflow.register(name, "1", bundles / name)
    served = Served(mlflow.app)
    stack.callback(served.stop)

    @cache
    def start(origins: str) -> str:
        home = tmp_path_factory.mktemp("classify")
        for name in ("secrets", "pipelines"):
            (home / name).mkdir()
        (home / "secrets" / "bundle-key").write_text(KEY)
        shutil.copy(HERE / "pipelines" / "flowers.toml", home / "pipelines")
        shutil.copy(SHIPPED / "pets.toml", home / "pipelines")
        environment = environment_alone("classify", home) | {
            "MLFLOW_TRACKING_URI": served.url,
            "SABUESO_PIPELINES": str(home / "pipelines"),
            "SABUESO_WORKERS": "1",
            "SABUESO_CORS_ORIGINS": origins,
        }
        port = int(environment["PORT"])
        stack.enter_context(Function("classify", port, environment, home))
        gateway = Served(create_gateway({one.name: one for one in read_stack({})}, {"classify": port}))
        stack.callback(gateway.stop)
        return gateway.url

    return start


@pytest.fixture(scope="module")
def gateway_url(start: Start, site: Site) -> str:
    """A gateway whose classify allows the site, and another origin."""
    return start(f"https://ana.github.io,{site.url}")


OpenProxy = Callable[..., str]


@pytest.fixture(scope="module")
def open_proxy(stack: ExitStack, site: Site, tmp_path_factory: pytest.TempPathFactory) -> OpenProxy:
    """open_proxy(GATEWAY_URL): the URL of a reverse proxy that allows the site."""

    def start(gateway_url: str, **variables: str) -> str:
        origins = {"PROXY_CORS_ORIGINS": f"https://ana.github.io,{site.url}"}
        proxy = Nginx(tmp_path_factory.mktemp("proxy"), gateway_url, **origins | variables)
        stack.enter_context(proxy)
        return proxy.url

    return start


@pytest.fixture(scope="module", params=["gateway", "reverse proxy"])
def server(request: pytest.FixtureRequest, gateway_url: str, open_proxy: OpenProxy) -> str:
    return gateway_url if request.param == "gateway" else open_proxy(gateway_url)


@pytest.fixture
def open_site(open_page: OpenPage, site: Site) -> OpenPage:
    """open_site(SERVER, PIPELINE): the site elsewhere, which calls that server."""

    def open_at(server: str, pipeline: str = "flowers", **options: Any) -> Page:
        site.name_server(server)
        return open_page(pipeline, site=site.url, ignore_https_errors=True, **options)

    return open_at


FETCH = """async ([url, options, bytes]) => {
    const body = bytes ? new Uint8Array(bytes) : options.body;
    try {
        const response = await fetch(url, {...options, body});
        const [retry, id] = ["Retry-After", "X-Request-Id"].map((name) => response.headers.get(name));
        return {status: response.status, document: await response.json(), retry, id};
    } catch (error) {
        return String(error);
    }
}"""


def fetch(page: Page, url: str, size: int = 0, **options: Any) -> Any:
    """What a script of the page gets: status, document and two headers; or the browser's error as text."""
    return page.evaluate(FETCH, [url, options, size])


def test_a_row_and_a_picture_are_classified_from_another_origin(open_site: OpenPage, server: str, picture: Any) -> None:
    page = open_site(server)
    expect(page.locator(".model-card .facts").first).to_contain_text("Version1")
    page.locator(".submit").click()
    expect(page.locator(".answer-source")).to_contain_text("flowers, version 1")
    page.locator('#pipelines a[href="#pets"]').click()
    page.set_input_files("#picture", picture)
    page.locator(".submit").click()
    expect(page.locator(".answer-source")).to_contain_text("pets, version 1")


def test_a_page_of_another_origin_reads_errors_but_can_not_send_a_token(open_site: OpenPage, server: str) -> None:
    page = open_site(server)
    expect(page.locator(".model-card")).to_be_visible()
    url = f"{server}/function/classify/flowers"
    wrong = fetch(page, url, method="POST", body="{", headers={"Content-Type": "application/json"})
    assert (wrong["status"], wrong["document"]["type"]) == (400, "urn:sabueso:problem:malformed")
    assert wrong["id"] == wrong["document"]["request_id"]
    assert fetch(page, url)["status"] == 200
    assert fetch(page, url, headers={"Authorization": "Bearer a-token"}) == "TypeError: Failed to fetch"


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("en-US", "Can't reach {server}. If your connection works, this address may be wrong, or that server may not"),
        ("es-MX", "No se puede conectar con {server}. Si tu conexión funciona, quizá esta dirección sea incorrecta o"),
    ],
    ids=["en", "es"],
)
@pytest.mark.parametrize("origins", ["", "https://ana.github.io"], ids=["off", "another"])
def test_the_browser_refuses_an_origin_that_is_not_listed_and_the_page_says_why(
    open_site: OpenPage, start: Start, site: Site, origins: str, locale: str, text: str
) -> None:
    server = start(origins)
    page = open_site(server, locale=locale)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(text.format(server=server))
    expect(alert).to_contain_text(site.url)
    assert fetch(page, f"{server}/function/classify") == "TypeError: Failed to fetch"


def test_the_page_names_a_server_that_is_down(open_site: OpenPage) -> None:
    server = f"http://127.0.0.1:{free_port()}"
    expect(open_site(server).get_by_role("alert")).to_contain_text(f"Can't reach {server}.")


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("en-US", "No function answers at {url}. Try again in a moment."),
        ("es-MX", "Ninguna función responde en {url}. Inténtalo de nuevo en un momento."),
    ],
    ids=["en", "es"],
)
def test_the_page_names_an_address_without_a_function(open_page: OpenPage, site: Site, locale: str, text: str) -> None:
    shutil.copy(SITE / "index.html", site.home / "site")  # without the server's address
    page = open_page("flowers", site=site.url, locale=locale, clock=True)
    alert = page.get_by_role("alert")
    for _ in range(60):
        if not alert.count():
            page.clock.run_for(1_000)
    expect(alert).to_contain_text(text.format(url=f"{site.url}/function/classify"))


def test_a_page_of_another_origin_reads_what_the_reverse_proxy_itself_refuses(
    open_site: OpenPage, open_proxy: OpenProxy, gateway_url: str
) -> None:
    server = open_proxy(gateway_url, PROXY_RATE="1r/m")
    page = open_site(server)
    expect(page.locator(".model-card")).to_be_visible()
    large = {"method": "POST", "headers": {"Content-Type": "image/png"}}
    refused = fetch(page, f"{server}/function/classify/pets", size=21_000_000, **large)
    assert (refused["status"], refused["document"]["type"]) == (413, "urn:sabueso:problem:too-large")
    answers = [fetch(page, f"{server}/function/classify") for _ in range(30)]
    late = [answer for answer in answers if answer["status"] == 429]
    assert late and late[0]["retry"] == "1" and late[0]["document"]["type"] == "urn:sabueso:problem:too-many-requests"
    down = open_proxy(f"http://127.0.0.1:{free_port()}")
    page = open_site(down)
    answer = fetch(page, f"{down}/function/classify")
    assert (answer["status"], answer["retry"], answer["document"]["status"]) == (503, "5", 503)
