"""Choosing a picture and sending it."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser.gateway import Gateway

pytestmark = [pytest.mark.browser, pytest.mark.full]

Open = Callable[..., Page]

# A file handed to the window as a drop or a paste does it.
HAND_OVER = """([how, name, type]) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array([1, 2, 3])], name, { type }));
    const facts = { bubbles: true, cancelable: true };
    const event = how === "drop"
        ? new DragEvent("drop", { ...facts, dataTransfer: files })
        : new ClipboardEvent("paste", { ...facts, clipboardData: files });
    document.body.dispatchEvent(event);
    return event.defaultPrevented;
}"""


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_picture_is_taken_by_drop_and_by_paste(open_page: Open, gateway: Gateway, how: str) -> None:
    page = open_page("pets")
    expect(page.locator(".drop")).to_be_visible()
    prevented = page.evaluate(HAND_OVER, [how, "dog.webp", "image/webp"])
    assert prevented or how == "paste"  # else the browser would leave the page for the dropped file
    expect(page.locator(".file-name")).to_contain_text("dog.webp")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("h3")).to_have_text("Cat")
    assert (gateway.received[0].content_type, gateway.received[0].body) == ("image/webp", b"\x01\x02\x03")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}, "“notes.txt” is not a picture"),
        ({"name": "old.tiff", "mimeType": "image/tiff", "buffer": b"II*"}, "taken here: JPEG, PNG, WEBP"),
        (
            {"name": "big.png", "mimeType": "image/png", "buffer": b"x" * 200_001},
            "has 201 kB; the most that is taken is 200 kB",
        ),
    ],
)
def test_wrong_type_or_size_is_said_before_sending(open_page: Open, gateway: Gateway, file: Any, message: str) -> None:
    page = open_page("pets")
    page.set_input_files("#picture", file)
    expect(page.get_by_role("alert")).to_contain_text(message)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose a picture first.")
    assert gateway.received == []


def test_text_file_named_jpg_shows_the_problem(open_page: Open, gateway: Gateway) -> None:
    gateway.refuse(422, "This is not a picture that can be decoded.")
    page = open_page("pets")
    page.set_input_files("#picture", {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"only text"})
    expect(page.locator(".preview")).to_contain_text("This file can't be shown as a picture.")
    page.get_by_role("button", name="Classify").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server understood it, but can't use it.")
    expect(alert).to_contain_text("This is not a picture that can be decoded.")
    expect(alert).to_contain_text("request r-problem")
    expect(alert).to_be_focused()
    assert gateway.received[0].body == b"only text"
