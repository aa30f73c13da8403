"""Steps that several test files share."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

OpenPage = Callable[..., Page]


def classify_picture(page: Page, picture: Any) -> None:
    page.set_input_files("#picture", picture)
    page.locator(".submit").click()
    expect(page.locator("h3")).to_be_visible()


def classify_row(page: Page) -> None:
    page.locator(".submit").click()
    expect(page.locator("h3")).to_be_visible()


def press_why(page: Page) -> None:
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".explanation")).to_be_visible()


# Contrast ratio (WCAG 2.2) of an element's text to the nearest painted background.
CONTRAST_RATIO = """(element) => {
    const luminance = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((channel) => channel / 255)
            .map((channel) => (channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let background = element;
    while (getComputedStyle(background).backgroundColor === "rgba(0, 0, 0, 0)") background = background.parentElement;
    const pair = [getComputedStyle(element).color, getComputedStyle(background).backgroundColor].map(luminance);
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""
