"""The form of a tabular pipeline."""

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.fake_gateway import FakeGateway
from browser.steps import OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.full]


def field_error(page: Page, label: str) -> Locator:
    """The error that a screen reader reads with the field."""
    ids = page.get_by_label(label).get_attribute("aria-describedby") or ""
    return page.locator(f"#{ids.split()[-1]}")


def test_another_example_starts_over_after_the_last(open_page: OpenPage) -> None:
    page = open_page("covertype")
    elevation, area = page.get_by_label("Elevation"), page.get_by_label("Wilderness area")
    another = page.get_by_role("button", name="Another example")
    another.click()
    expect(elevation).to_have_value("3010.5")
    expect(area).to_have_value("Neota")
    another.click()
    expect(elevation).to_have_value("2596")
    expect(area).to_have_value("Rawah")


def test_a_single_example_has_no_button_for_another(open_page: OpenPage, gateway: FakeGateway) -> None:
    for column in gateway.cards["covertype"]["input"]["schema"]["properties"].values():
        column["examples"] = column.get("examples", [1])[:1]
    page = open_page("covertype")
    expect(page.get_by_label("Elevation")).to_have_value("2596")
    expect(page.get_by_role("button", name="Another example")).to_have_count(0)


@pytest.mark.parametrize(
    ("value", "message"),
    [("", "This field is required."), ("5001", "Allowed: 0 to 5,000."), ("12", None), ("0.125", None)],
)
def test_fields_are_validated_before_sending(
    open_page: OpenPage, gateway: FakeGateway, value: str, message: str | None
) -> None:
    page = open_page("covertype")
    page.get_by_label("Elevation").fill(value)
    page.get_by_role("button", name="Classify").click()
    if message is None:
        expect(page.locator("h3")).to_be_visible()
        return
    expect(field_error(page, "Elevation")).to_have_text(message)
    expect(page.get_by_label("Elevation")).to_be_focused()
    assert gateway.received == []


def test_server_error_is_shown_at_its_field(open_page: OpenPage, gateway: FakeGateway) -> None:
    errors = [
        {"field": "Slope", "detail": "must be below 60"},
        {"field": "row", "detail": "<b>is wrong</b>"},
    ]
    gateway.fail_posts(422, "The row can't be used.", errors)
    page = open_page("covertype")
    page.get_by_role("button", name="Classify").click()
    slope = page.get_by_label("Slope")
    expect(field_error(page, "Slope")).to_have_text("must be below 60")
    expect(slope).to_have_attribute("aria-invalid", "true")
    expect(slope).to_be_focused()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The row can't be used.")
    expect(alert.locator("li")).to_have_text(["row: <b>is wrong</b>"])
    slope.fill("4")
    expect(slope).not_to_have_attribute("aria-invalid", "true")
    expect(alert).to_have_count(0)


def test_page_works_with_the_keyboard_alone(open_page: OpenPage) -> None:
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
