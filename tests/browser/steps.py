"""What people do on the page, and how its contrast is measured: for the tests of several files."""

from typing import Any

from playwright.sync_api import Page, expect


def classify_picture(page: Page, picture: Any) -> None:
    page.set_input_files("#picture", picture)
    page.locator(".send").click()
    expect(page.locator("h3")).to_be_visible()


def classify_row(page: Page) -> None:
    page.locator(".send").click()
    expect(page.locator("h3")).to_be_visible()


def ask_why(page: Page) -> None:
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".explanation")).to_be_visible()


# Contrast ratio of WCAG 2.2 between an element's text and the first ground painted behind it.
CONTRAST = """(element) => {
    const light = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
            .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let ground = element;
    while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
    const pair = [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor].map(light);
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""
