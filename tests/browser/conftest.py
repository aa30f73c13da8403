"""Fixtures: Chromium, and the site served by a fake gateway on 127.0.0.1."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from browser.fake_gateway import FakeGateway
from browser.steps import OpenPage
from deployment.smoke import make_picture
from servers import missing

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MS = 30_000  # Playwright's default of 5 s is too short on a busy machine


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser per file: while it runs, Playwright's event loop blocks any other one in this thread."""
    program = os.environ.get("SABUESO_CHROMIUM") or shutil.which("chromium")
    if program is None or not Path(program).exists():
        missing("no Chromium: install it, or name one in SABUESO_CHROMIUM")
    with sync_playwright() as playwright:
        expect.set_options(timeout=TIMEOUT_MS)
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as running:
        yield running


@pytest.fixture
def open_page(chromium: Browser, gateway: FakeGateway) -> Iterator[OpenPage]:
    """Opens the site at a pipeline. With `clock=True` the page's clock stands still until the test moves it.

    `site`: the URL of a site that another server serves. An uncaught error in the page's scripts fails the test.
    """
    contexts = []
    script_errors: list[Error] = []

    def open_at(
        pipeline: str = "", *, site: str = "", clock: bool = False, locale: str = "en-US", **options: Any
    ) -> Page:
        context = chromium.new_context(locale=locale, **options)
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: script_errors.append(error))
        if clock:
            page.clock.install(time=0)
            page.clock.pause_at(1000)
        page.goto(f"{site or gateway.url}/{'#' if pipeline else ''}{pipeline}")
        return page

    yield open_at
    gateway.release_posts()
    for context in contexts:
        context.close()
    assert [str(error) for error in script_errors] == []


@pytest.fixture(scope="session")
def picture() -> Any:
    """A picture in the form that Playwright uploads."""
    return {"name": "cat.png", "mimeType": "image/png", "buffer": make_picture(48)}
