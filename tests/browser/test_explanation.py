"""The "Why?" button: what it sends, what it shows while waiting, and what can go wrong."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.fake_gateway import FakeGateway
from browser.steps import OpenPage, classify_picture, classify_row, press_why
from conftest import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.full]

PHONE = {"viewport": {"width": 320, "height": 568}, "has_touch": True, "is_mobile": True}
ANSWER_AREA = "[aria-live=polite]"


def test_explanation_is_requested_only_when_why_is_pressed(
    open_page: OpenPage, gateway: FakeGateway, picture: Any
) -> None:
    page = open_page("pets")
    expect(page.get_by_role("button", name="Why?")).to_have_count(0)
    classify_picture(page, picture)
    assert [post.query for post in gateway.received] == [""]
    answer = page.locator("h3").element_handle()
    press_why(page)
    assert [post.query for post in gateway.received] == ["", "explain=1"]
    assert gateway.received[1].body == picture["buffer"] and gateway.received[1].content_type == "image/png"
    assert answer.evaluate("(heading) => heading.isConnected")
    expect(page.locator(".explanation h4")).to_have_text("Why “Cat”?")
    expect(page.locator("figcaption")).to_contain_text("The warmer the colour, the more that area points to “Cat”.")
    expect(page.get_by_role("button", name="Why?")).to_have_count(0)


def test_answer_stays_while_waiting_and_a_second_press_sends_nothing(open_page: OpenPage, gateway: FakeGateway) -> None:
    page = open_page("covertype")
    classify_row(page)
    gateway.hold_posts()
    page.get_by_role("button", name="Why?").press("Enter")
    button = page.get_by_role("button", name="Preparing the explanation…")
    expect(button).to_be_focused()
    expect(button.locator(".spinner")).to_be_visible()
    expect(page.locator(".explanation-section")).to_have_attribute("aria-busy", "true")
    expect(page.locator("h3")).to_have_text("Lodgepole pine")
    wait_until(lambda: len(gateway.received) == 2)
    button.press("Enter")
    gateway.release_posts()
    expect(page.locator(".explanation h4")).to_be_focused()
    expect(page.locator(".explanation-section")).to_have_attribute("aria-busy", "false")
    assert len(gateway.received) == 2


def test_reduced_motion_stops_the_spinner(open_page: OpenPage, gateway: FakeGateway) -> None:
    page = open_page("covertype", reduced_motion="reduce")
    classify_row(page)
    gateway.hold_posts()
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".explanation-section .spinner")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0


def test_changing_the_input_removes_the_explanation(open_page: OpenPage, gateway: FakeGateway) -> None:
    page = open_page("covertype")
    classify_row(page)
    press_why(page)
    page.get_by_label("Elevation").fill("77")
    expect(page.locator(ANSWER_AREA)).to_have_text("The answer will appear here.")
    classify_row(page)
    expect(page.locator(".explanation")).to_have_count(0)
    gateway.hold_posts()
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".explanation-section")).to_have_attribute("aria-busy", "true")
    with page.expect_event("requestfailed"):
        page.get_by_label("Elevation").fill("78")
    gateway.release_posts()
    expect(page.locator(ANSWER_AREA)).to_have_text("The answer will appear here.")
    assert json.loads(gateway.received[-1].body)["Elevation"] == 77


def test_version_without_explanations_says_so(open_page: OpenPage, gateway: FakeGateway, picture: Any) -> None:
    page = open_page("pets")
    classify_picture(page, picture)
    gateway.fail_posts(422, "version 3 was made without explanations: train again")
    page.get_by_role("button", name="Why?").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This version of the model can't explain its answers.")
    expect(alert).to_contain_text("version 3 was made without explanations: train again")
    expect(alert).to_be_focused()
    expect(alert.get_by_role("button", name="Try again")).to_have_count(0)
    expect(page.locator("h3")).to_have_text("Cat")


@pytest.mark.parametrize("explanation", [None, {"kind": "poem", "label": "1"}])
def test_missing_or_unknown_explanation_says_so(open_page: OpenPage, gateway: FakeGateway, explanation: Any) -> None:
    gateway.explanations["covertype"] = explanation
    page = open_page("covertype")
    classify_row(page)
    page.get_by_role("button", name="Why?").click()
    expect(page.get_by_role("alert")).to_have_text("This version of the model can't explain its answers.")
    expect(page.locator("h3")).to_have_text("Lodgepole pine")


def test_network_failure_is_shown_below_the_answer_and_can_be_retried(open_page: OpenPage) -> None:
    page = open_page("covertype")
    classify_row(page)
    page.context.set_offline(True)
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".explanation-section").get_by_role("alert")).to_contain_text("Can't reach the server.")
    expect(page.locator("h3")).to_have_text("Lodgepole pine")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".explanation h4")).to_be_focused()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_explanation_by_a_new_champion_comes_with_its_full_answer(open_page: OpenPage, gateway: FakeGateway) -> None:
    page = open_page("covertype")
    classify_row(page)
    gateway.cards["covertype"]["model"]["version"] = "13"
    answer = gateway.answers["covertype"]
    answer["model"]["version"] = "13"
    answer["predictions"][0] |= {"label": "4", "title": {"en": "Aspen", "es": "Álamo temblón"}, "confidence": 0.7}
    gateway.explanations["covertype"]["label"] = "4"
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("h3")).to_have_text("Aspen")
    expect(page.locator(".version-note")).to_have_text("The model has changed to version 13. This is its full answer.")
    expect(page.locator(".version-note")).to_be_focused()
    expect(page.locator(".version-note")).to_be_in_viewport(ratio=1)
    expect(page.locator(".explanation h4")).to_have_text("Why “Aspen”?")
    expect(page.locator(".answer-source")).to_contain_text("covertype, version 13")
    expect(page.locator(".model-card .facts dd").first).to_have_text("13")


@pytest.mark.parametrize("pipeline", ["pets", "covertype"])
def test_explanation_fits_a_narrow_phone(open_page: OpenPage, picture: Any, pipeline: str) -> None:
    page = open_page(pipeline, locale="es-MX", **PHONE)
    if pipeline == "pets":
        page.set_input_files("#picture", picture)
    classify_row(page)
    page.get_by_role("button", name="¿Por qué?").click()
    expect(page.locator(".explanation h4")).to_be_in_viewport(ratio=1)
    expect(page.locator("figcaption, .effects li").first).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    panel_right = page.locator(".answer-panel").evaluate("(panel) => panel.offsetWidth + 12")
    for element in page.locator(".explanation *").all():
        assert element.evaluate("(element) => element.getBoundingClientRect().right") <= panel_right
