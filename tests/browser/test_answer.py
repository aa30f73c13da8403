"""What is shown while waiting, of the answer and of what went wrong."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from flask import Response
from playwright.sync_api import Page, expect

from browser.gateway import Gateway
from browser.steps import classify_picture
from conftest import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.full]

Open = Callable[..., Page]

# By the page's clock: when each POST was sent, and when its whole answer was there.
TIMES = """() => {
    const real = window.fetch;
    window.times = [];
    window.fetch = async (url, options) => {
        if (options?.method !== "POST") return real(url, options);
        const time = { sent: Date.now() };
        window.times.push(time);
        const response = await real(url, options);
        const body = await response.blob();
        time.answered = Date.now();
        return new Response(body, response);
    };
}"""


def posts_until(page: Page, holds: Callable[[], Any]) -> list[dict[str, int]]:
    """Moves the page's stopped clock, but not while a POST is on its way, until it holds; the times of the POSTs."""
    for _ in range(600):  # a minute by that clock
        if holds():
            return page.evaluate("window.times")  # type: ignore[no-any-return]
        wait_until(lambda: page.evaluate("window.times.every((time) => 'answered' in time)"))
        page.clock.run_for(100)
    raise AssertionError("it did not come true within a minute of the page's clock")


def pauses(times: list[dict[str, int]]) -> list[int]:
    """Milliseconds from each answer to the next POST."""
    return [after["sent"] - before["answered"] for before, after in pairwise(times)]


@pytest.mark.parametrize(
    ("language", "note"), [("en-GB", "has seen drawings only, not a single"), ("es-ES", "solo ha visto dibujos")]
)
def test_an_answer_says_when_the_model_has_seen_drawings_alone(
    open_page: Open, gateway: Gateway, picture: Any, language: str, note: str
) -> None:
    page = open_page("pets", locale=language)
    classify_picture(page, picture)
    expect(page.locator(".answer")).to_contain_text(note)
    gateway.cards["pets"]["made_up"] = False
    page = open_page("pets", locale=language)
    classify_picture(page, picture)
    expect(page.locator(".answer")).not_to_contain_text(note)


def test_bars_show_all_probabilities_highest_first(open_page: Open) -> None:
    page = open_page("covertype")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".bars li")).to_have_text(
        [
            "Lodgepole pine64%",
            "Spruce/Fir21%",
            "Aspen10%",
            "Douglas fir3%",
            "Ponderosa pine1%",
            "Krummholz1%",
            "Cottonwood/Willow0%",
        ]
    )
    widths = page.locator(".fill").evaluate_all(
        "(bars) => bars.map((bar) => bar.offsetWidth / bar.parentElement.offsetWidth)"
    )
    assert widths[:3] == pytest.approx([0.64, 0.21, 0.1], abs=0.01)


@pytest.mark.parametrize(
    ("status", "words", "meaning"),
    [
        ("uncertain", "It could be", "take it as a guess"),
        ("unknown", "The nearest known class is", "probably none of the classes"),
    ],
)
def test_status_is_shown_with_what_it_means(
    open_page: Open, gateway: Gateway, picture: Any, status: str, words: str, meaning: str
) -> None:
    gateway.answers["pets"]["predictions"][0]["status"] = status
    page = open_page("pets")
    page.set_input_files("#picture", picture)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".lead")).to_have_text(words)
    expect(page.locator(".status")).to_have_text(status.capitalize())
    expect(page.locator(".means")).to_contain_text(meaning)


def test_nearly_certain_is_not_written_as_certain(open_page: Open, gateway: Gateway) -> None:
    gateway.answers["covertype"]["predictions"][0]["confidence"] = 0.99997
    page = open_page("covertype")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".confidence")).to_have_text("> 99.9% confidence")


def test_waiting_is_shown_and_the_button_rests(open_page: Open, gateway: Gateway) -> None:
    gateway.hold()
    page = open_page("covertype")
    page.get_by_role("button", name="Classify").click()
    waiting = page.get_by_role("button", name="Classifying…")
    expect(waiting).to_be_disabled()
    expect(waiting.locator(".spinner")).to_be_visible()
    expect(page.locator("[aria-live=polite]")).to_have_attribute("aria-busy", "true")
    gateway.release.set()
    expect(page.locator("h3")).to_be_visible()
    button = page.get_by_role("button", name="Classify")
    expect(button).to_be_enabled()
    expect(button).to_be_focused()
    expect(button.locator(".spinner")).to_be_hidden()
    expect(page.locator("[aria-live=polite]")).to_have_attribute("aria-busy", "false")


def test_reduced_motion_stops_the_animations(open_page: Open, gateway: Gateway) -> None:
    gateway.hold()
    moving = {}
    for wish in ("no-preference", "reduce"):
        page = open_page("covertype", reduced_motion=wish)
        page.get_by_role("button", name="Classify").click()
        expect(page.locator(".spinner")).to_be_visible()
        moving[wish] = page.evaluate("document.getAnimations().length")
    assert moving == {"no-preference": 2, "reduce": 0}


def test_an_answer_to_an_older_input_is_not_shown(open_page: Open, gateway: Gateway) -> None:
    gateway.hold()
    page = open_page("covertype")
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Classify").click()
        expect(page.get_by_role("button", name="Classifying…")).to_be_disabled()
        page.get_by_label("Elevation").fill("77")
    expect(page.get_by_role("button", name="Classify")).to_be_enabled()
    expect(page.locator("[aria-live=polite]")).to_have_text("The answer will be shown here.")


def test_a_slow_server_ends_in_a_timeout_and_retry_sends_again(open_page: Open, gateway: Gateway) -> None:
    gateway.hold()
    page = open_page("covertype", clock=True)
    with page.expect_request(lambda request: request.method == "POST"):
        page.get_by_role("button", name="Classify").click()
    page.clock.run_for(29_000)
    expect(page.get_by_role("button", name="Classifying…")).to_be_disabled()
    page.clock.run_for(2_000)
    expect(page.get_by_role("alert")).to_contain_text("No answer after 30 seconds.")
    gateway.release.set()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("h3")).to_be_visible()


def test_network_down_is_said(open_page: Open) -> None:
    page = open_page("covertype")
    expect(page.get_by_label("Elevation")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("The server can't be reached.")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("h3")).to_be_visible()


def test_no_model_while_classifying_says_when_to_try_again(open_page: Open, gateway: Gateway) -> None:
    gateway.refuse(503, "covertype has no champion", retry_after="7")
    page = open_page("covertype", clock=True)
    page.get_by_role("button", name="Classify").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("No model yet.")
    expect(alert).to_contain_text("Try again in 7 s.")
    expect(alert.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize("status", [404, 500, 502])
def test_while_no_function_answers_the_page_asks_again_by_itself(
    open_page: Open, gateway: Gateway, status: int
) -> None:
    def refuse_once() -> Response:
        gateway.refusal = None
        return Response("error finding function classify", status)

    gateway.refusal = refuse_once
    page = open_page("covertype", clock=True)
    page.evaluate(TIMES)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("button", name="Classifying…")).to_be_disabled()
    [pause] = pauses(posts_until(page, page.locator("h3").is_visible))
    assert 1_000 <= pause <= 1_500
    assert len(gateway.received) == 2


def test_who_goes_on_to_another_pipeline_is_not_led_back_by_an_answer_that_was_waited_for(
    open_page: Open, gateway: Gateway
) -> None:
    gateway.away = {"covertype"}
    page = open_page("covertype", clock=True)
    wait_until(lambda: "covertype" in gateway.asked)
    page.locator('#pipelines a[href="#pets"]').click()
    expect(page.locator("#picture")).to_be_attached()
    gateway.away = set()
    asked = gateway.asked.count("covertype")
    page.clock.run_for(3_000)
    expect(page.locator("#picture")).to_be_attached()
    assert gateway.asked.count("covertype") == asked


def test_a_proxys_own_error_page_is_not_shown_as_a_problem_document(open_page: Open, gateway: Gateway) -> None:
    gateway.refusal = lambda: Response("<h1>Bad Gateway</h1>", 502)
    page = open_page("covertype", clock=True)
    page.evaluate(TIMES)
    page.get_by_role("button", name="Classify").click()
    alert = page.get_by_role("alert")
    times = posts_until(page, alert.count)
    assert all(1_000 <= pause <= 1_500 for pause in pauses(times)), pauses(times)
    assert 20_000 < times[-1]["answered"] - times[0]["sent"] < 40_000
    expect(alert).to_contain_text("The service is not available just now.")
    expect(alert).not_to_contain_text("<h1>")
    gateway.refusal = None
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator("h3")).to_be_visible()


def test_card_follows_a_new_version_and_the_answer_stays(open_page: Open, gateway: Gateway) -> None:
    page = open_page("covertype")
    expect(page.locator(".card .facts dd").first).to_have_text("12")
    gateway.cards["covertype"]["model"]["version"] = "13"
    gateway.answers["covertype"]["model"]["version"] = "13"
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".card .facts dd").first).to_have_text("13")
    expect(page.locator(".origin")).to_contain_text("covertype, version 13")
