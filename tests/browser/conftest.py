"""A real browser on the real site, in front of a stand-in gateway on 127.0.0.1."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from browser.gateway import Gateway
from deployment.smoke import a_picture
from servers import missing

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000  # Playwright has 5 seconds for what is expected, which a busy machine may need
Open = Callable[..., Page]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One a file: while Playwright runs, its event loop counts as running in this thread, and no other may run."""
    program = os.environ.get("SABUESO_CHROMIUM") or shutil.which("chromium")
    if program is None or not Path(program).exists():
        missing("no Chromium: install it, or name one in SABUESO_CHROMIUM")
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as running:
        yield running


@pytest.fixture
def open_page(chromium: Browser, gateway: Gateway) -> Iterator[Open]:
    """Opens the site at a pipeline; `clock=True` stops the page's time until the test moves it.

    An uncaught error in the page's scripts fails the test.
    """
    contexts = []
    script_errors: list[Error] = []

    def open_at(pipeline: str = "", *, clock: bool = False, locale: str = "en-US", **options: Any) -> Page:
        context = chromium.new_context(locale=locale, **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: script_errors.append(error))
        if clock:
            page.clock.install(time=0)
            page.clock.pause_at(1000)
        page.goto(f"{gateway.url}/#{pipeline}" if pipeline else f"{gateway.url}/")
        return page

    yield open_at
    gateway.release.set()
    for context in contexts:
        context.close()
    assert [str(error) for error in script_errors] == []


@pytest.fixture(scope="session")
def picture() -> Any:
    """The picture as Playwright gives files to a page."""
    return {"name": "cat.png", "mimeType": "image/png", "buffer": a_picture(48)}
