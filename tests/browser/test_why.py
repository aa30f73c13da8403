"""Asking why it was answered so: when it is asked, while it is waited for, and what can go wrong."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser.gateway import Gateway
from browser.steps import ask_why, classify_picture, classify_row
from conftest import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.full]

Open = Callable[..., Page]
PHONE = {"viewport": {"width": 320, "height": 568}, "has_touch": True, "is_mobile": True}
LIVE = "[aria-live=polite]"


def test_why_is_asked_only_when_pressed_with_the_same_picture(open_page: Open, gateway: Gateway, picture: Any) -> None:
    page = open_page("pets")
    expect(page.get_by_role("button", name="Why?")).to_have_count(0)
    classify_picture(page, picture)
    assert [one.query for one in gateway.received] == [""]
    answer = page.locator("h3").element_handle()
    ask_why(page)
    assert [one.query for one in gateway.received] == ["", "explain=1"]
    assert gateway.received[1].body == picture["buffer"] and gateway.received[1].content_type == "image/png"
    assert answer.evaluate("(heading) => heading.isConnected")
    expect(page.locator(".explanation h4")).to_have_text("Why Cat?")
    expect(page.locator("figcaption")).to_contain_text("The warmer, the more this part speaks for Cat.")
    expect(page.get_by_role("button", name="Why?")).to_have_count(0)


def test_while_reasons_are_looked_for_the_answer_stays_and_a_second_press_asks_nothing(
    open_page: Open, gateway: Gateway
) -> None:
    page = open_page("covertype")
    classify_row(page)
    gateway.hold()
    page.get_by_role("button", name="Why?").press("Enter")
    waiting = page.get_by_role("button", name="Looking for reasons…")
    expect(waiting).to_be_focused()
    expect(waiting.locator(".spinner")).to_be_visible()
    expect(page.locator(".why")).to_have_attribute("aria-busy", "true")
    expect(page.locator("h3")).to_have_text("Lodgepole pine")
    wait_until(lambda: len(gateway.received) == 2)
    waiting.press("Enter")
    gateway.release.set()
    expect(page.locator(".explanation h4")).to_be_focused()
    expect(page.locator(".why")).to_have_attribute("aria-busy", "false")
    assert len(gateway.received) == 2


def test_reduced_motion_stops_the_spinner_of_why(open_page: Open, gateway: Gateway) -> None:
    page = open_page("covertype", reduced_motion="reduce")
    classify_row(page)
    gateway.hold()
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".why .spinner")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0


def test_a_new_input_takes_the_explanation_away(open_page: Open, gateway: Gateway) -> None:
    page = open_page("covertype")
    classify_row(page)
    ask_why(page)
    page.get_by_label("Elevation").fill("77")
    expect(page.locator(LIVE)).to_have_text("The answer will be shown here.")
    classify_row(page)
    expect(page.locator(".explanation")).to_have_count(0)
    gateway.hold()
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".why")).to_have_attribute("aria-busy", "true")
    with page.expect_event("requestfailed"):
        page.get_by_label("Elevation").fill("78")
    gateway.release.set()
    expect(page.locator(LIVE)).to_have_text("The answer will be shown here.")
    assert json.loads(gateway.received[-1].body)["Elevation"] == 77


def test_a_version_made_without_explanations_is_said(open_page: Open, gateway: Gateway, picture: Any) -> None:
    page = open_page("pets")
    classify_picture(page, picture)
    gateway.refuse(422, "version 3 was made without explanations: train again")
    page.get_by_role("button", name="Why?").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This version of the model can't explain its answers.")
    expect(alert).to_contain_text("version 3 was made without explanations: train again")
    expect(alert).to_be_focused()
    expect(alert.get_by_role("button", name="Try again")).to_have_count(0)
    expect(page.locator("h3")).to_have_text("Cat")


@pytest.mark.parametrize("explanation", [None, {"kind": "poem", "label": "1"}])
def test_an_answer_without_an_explanation_that_is_known_here_is_said(
    open_page: Open, gateway: Gateway, explanation: Any
) -> None:
    gateway.explanations["covertype"] = explanation
    page = open_page("covertype")
    classify_row(page)
    page.get_by_role("button", name="Why?").click()
    expect(page.get_by_role("alert")).to_have_text("This version of the model can't explain its answers.")
    expect(page.locator("h3")).to_have_text("Lodgepole pine")


def test_network_gone_is_said_beside_the_answer_and_why_can_be_asked_again(open_page: Open) -> None:
    page = open_page("covertype")
    classify_row(page)
    page.context.set_offline(True)
    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".why").get_by_role("alert")).to_contain_text("The server can't be reached.")
    expect(page.locator("h3")).to_have_text("Lodgepole pine")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".explanation h4")).to_be_focused()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_new_champion_that_explains_itself_is_shown_with_its_whole_answer(open_page: Open, gateway: Gateway) -> None:
    page = open_page("covertype")
    classify_row(page)
    gateway.cards["covertype"]["model"]["version"] = "13"
    answer = gateway.answers["covertype"]
    answer["model"]["version"] = "13"
    answer["predictions"][0] |= {"label": "4", "title": {"en": "Aspen", "es": "Álamo temblón"}, "confidence": 0.7}
    gateway.explanations["covertype"]["label"] = "4"
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("h3")).to_have_text("Aspen")
    expect(page.locator(".replaced")).to_have_text("Version 13 of the model answers now: this is its whole answer.")
    expect(page.locator(".replaced")).to_be_focused()
    expect(page.locator(".replaced")).to_be_in_viewport(ratio=1)
    expect(page.locator(".explanation h4")).to_have_text("Why Aspen?")
    expect(page.locator(".origin")).to_contain_text("covertype, version 13")
    expect(page.locator(".card .facts dd").first).to_have_text("13")


@pytest.mark.parametrize("pipeline", ["pets", "covertype"])
def test_an_explanation_fits_a_narrow_phone(open_page: Open, picture: Any, pipeline: str) -> None:
    page = open_page(pipeline, locale="es-MX", **PHONE)
    if pipeline == "pets":
        page.set_input_files("#picture", picture)
    classify_row(page)
    page.get_by_role("button", name="¿Por qué?").click()
    expect(page.locator(".explanation h4")).to_be_in_viewport(ratio=1)
    expect(page.locator("figcaption, .effects li").first).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    inside = "(one) => one.getBoundingClientRect().right <= document.querySelector('.output').offsetWidth + 12"
    for one in page.locator(".explanation *").all():
        assert one.evaluate(inside)
