"""Choosing a picture and sending it."""

from typing import Any

import pytest
from playwright.sync_api import expect

from browser.fake_gateway import FakeGateway
from browser.steps import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.full]

# Dispatches a drop or a paste of a file.
DROP_OR_PASTE = """([action, name, type]) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array([1, 2, 3])], name, { type }));
    const options = { bubbles: true, cancelable: true };
    const event = action === "drop"
        ? new DragEvent("drop", { ...options, dataTransfer: files })
        : new ClipboardEvent("paste", { ...options, clipboardData: files });
    document.body.dispatchEvent(event);
    return event.defaultPrevented;
}"""


@pytest.mark.parametrize("action", ["drop", "paste"])
def test_picture_can_be_dropped_or_pasted(open_page: OpenPage, gateway: FakeGateway, action: str) -> None:
    page = open_page("pets")
    expect(page.locator(".drop-zone")).to_be_visible()
    prevented = page.evaluate(DROP_OR_PASTE, [action, "dog.webp", "image/webp"])
    assert prevented or action == "paste"  # otherwise the browser opens the dropped file instead of the page
    expect(page.locator(".file-name")).to_contain_text("dog.webp")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("h3")).to_have_text("Cat")
    assert (gateway.received[0].content_type, gateway.received[0].body) == ("image/webp", b"\x01\x02\x03")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}, "“notes.txt” can't be classified here."),
        ({"name": "old.tiff", "mimeType": "image/tiff", "buffer": b"II*"}, "one of these types: JPEG, PNG, WEBP."),
        (
            {"name": "big.png", "mimeType": "image/png", "buffer": b"x" * 200_001},
            "is too large (201 kB). Choose a picture of up to 200 kB.",
        ),
    ],
)
def test_wrong_type_or_size_is_refused_before_sending(
    open_page: OpenPage, gateway: FakeGateway, file: Any, message: str
) -> None:
    page = open_page("pets")
    page.set_input_files("#picture", file)
    expect(page.get_by_role("alert")).to_contain_text(message)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose a picture first.")
    assert gateway.received == []


def test_text_file_named_jpg_shows_the_problem_of_the_server(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.fail_posts(422, "This is not a picture that can be decoded.")
    page = open_page("pets")
    page.set_input_files("#picture", {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"only text"})
    expect(page.locator(".preview")).to_contain_text("The browser can't show this file as a picture.")
    page.get_by_role("button", name="Classify").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server can't use this input. Change it and send it again.")
    expect(alert).to_contain_text("This is not a picture that can be decoded.")
    expect(alert).to_contain_text("request r-problem")
    expect(alert).to_be_focused()
    assert gateway.received[0].body == b"only text"
