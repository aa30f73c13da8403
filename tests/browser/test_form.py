"""The form of a tabular pipeline."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.gateway import Gateway

pytestmark = [pytest.mark.browser, pytest.mark.full]

Open = Callable[..., Page]


def error_beside(page: Page, label: str) -> Locator:
    """The error that assistive technology reads with the field."""
    described = page.get_by_label(label).get_attribute("aria-describedby") or ""
    return page.locator(f"#{described.split()[-1]}")


def test_another_example_goes_round(open_page: Open) -> None:
    page = open_page("covertype")
    elevation, area = page.get_by_label("Elevation"), page.get_by_label("Wilderness area")
    another = page.get_by_role("button", name="Another example")
    another.click()
    expect(elevation).to_have_value("3010.5")
    expect(area).to_have_value("Neota")
    another.click()
    expect(elevation).to_have_value("2596")
    expect(area).to_have_value("Rawah")


def test_one_example_needs_no_button_for_another(open_page: Open, gateway: Gateway) -> None:
    for column in gateway.cards["covertype"]["input"]["schema"]["properties"].values():
        column["examples"] = column.get("examples", [1])[:1]
    page = open_page("covertype")
    expect(page.get_by_label("Elevation")).to_have_value("2596")
    expect(page.get_by_role("button", name="Another example")).to_have_count(0)


@pytest.mark.parametrize(
    ("value", "message"),
    [("", "Fill this in."), ("5001", "This must be 0 to 5,000."), ("12", None), ("0.125", None)],
)
def test_fields_are_checked_before_sending(open_page: Open, gateway: Gateway, value: str, message: str | None) -> None:
    page = open_page("covertype")
    page.get_by_label("Elevation").fill(value)
    page.get_by_role("button", name="Classify").click()
    if message is None:
        expect(page.locator("h3")).to_be_visible()
        return
    expect(error_beside(page, "Elevation")).to_have_text(message)
    expect(page.get_by_label("Elevation")).to_be_focused()
    assert gateway.received == []


def test_a_problem_is_shown_beside_its_field(open_page: Open, gateway: Gateway) -> None:
    errors = [
        {"field": "Slope", "detail": "must be below 60"},
        {"field": "row", "detail": "<b>looks odd</b>"},
    ]
    gateway.refuse(422, "The row can't be used.", errors)
    page = open_page("covertype")
    page.get_by_role("button", name="Classify").click()
    slope = page.get_by_label("Slope")
    expect(error_beside(page, "Slope")).to_have_text("must be below 60")
    expect(slope).to_have_attribute("aria-invalid", "true")
    expect(slope).to_be_focused()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The row can't be used.")
    expect(alert.locator("li")).to_have_text(["row: <b>looks odd</b>"])
    slope.fill("4")
    expect(slope).not_to_have_attribute("aria-invalid", "true")
    expect(alert).to_have_count(0)


def test_keyboard_alone_is_enough(open_page: Open) -> None:
    page = open_page("covertype")
    expect(page.get_by_label("Elevation")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the form")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    assert page.url.endswith("#covertype")
    page.get_by_label("Elevation").focus()
    page.keyboard.press("Enter")
    expect(page.locator("h3")).to_be_visible()
