"""What the page shows while it waits, when it has the answer, and when something goes wrong."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from flask import Response
from playwright.sync_api import Page, expect

from browser.fake_gateway import FakeGateway
from browser.steps import OpenPage, classify_picture
from conftest import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.full]

# Records when each POST was sent and fully answered, by the page's clock.
RECORD_POST_TIMES = """() => {
    const realFetch = window.fetch;
    window.postTimes = [];
    window.fetch = async (url, options) => {
        if (options?.method !== "POST") return realFetch(url, options);
        const time = { sent: Date.now() };
        window.postTimes.push(time);
        const response = await realFetch(url, options);
        const body = await response.blob();
        time.answered = Date.now();
        return new Response(body, response);
    };
}"""


def post_times_until(page: Page, condition: Callable[[], Any]) -> list[dict[str, int]]:
    """Moves the page's stopped clock until the condition is met. The clock stands still while a POST is unanswered."""
    for _ in range(600):  # a minute on the page's clock
        if condition():
            return page.evaluate("window.postTimes")  # type: ignore[no-any-return]
        wait_until(lambda: page.evaluate("window.postTimes.every((time) => 'answered' in time)"))
        page.clock.run_for(100)
    raise AssertionError("the condition was not met within a minute on the page's clock")


def pauses(times: list[dict[str, int]]) -> list[int]:
    """Milliseconds from each answer to the next POST."""
    return [after["sent"] - before["answered"] for before, after in pairwise(times)]


@pytest.mark.parametrize(
    ("language", "note"), [("en-GB", "was trained only on drawings"), ("es-ES", "se entrenó solo con dibujos")]
)
def test_answer_warns_when_the_model_was_trained_on_drawings(
    open_page: OpenPage, gateway: FakeGateway, picture: Any, language: str, note: str
) -> None:
    page = open_page("pets", locale=language)
    classify_picture(page, picture)
    expect(page.locator(".answer")).to_contain_text(note)
    gateway.cards["pets"]["made_up"] = False
    page = open_page("pets", locale=language)
    classify_picture(page, picture)
    expect(page.locator(".answer")).not_to_contain_text(note)


def test_bars_show_all_probabilities_highest_first(open_page: OpenPage) -> None:
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
    ("status", "lead", "meaning"),
    [
        ("uncertain", "It could be", "treat the answer as a guess"),
        ("unknown", "The closest known class is", "probably none of the classes"),
    ],
)
def test_status_is_shown_with_its_meaning(
    open_page: OpenPage, gateway: FakeGateway, picture: Any, status: str, lead: str, meaning: str
) -> None:
    gateway.answers["pets"]["predictions"][0]["status"] = status
    page = open_page("pets")
    page.set_input_files("#picture", picture)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".lead")).to_have_text(lead)
    expect(page.locator(".status")).to_have_text(status.capitalize())
    expect(page.locator(".status-meaning")).to_contain_text(meaning)


def test_confidence_below_one_is_not_rounded_to_100_percent(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.answers["covertype"]["predictions"][0]["confidence"] = 0.99997
    page = open_page("covertype")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".confidence")).to_have_text("> 99.9% confidence")


def test_button_is_disabled_and_spins_until_the_answer_arrives(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.hold_posts()
    page = open_page("covertype")
    page.get_by_role("button", name="Classify").click()
    waiting = page.get_by_role("button", name="Classifying…")
    expect(waiting).to_be_disabled()
    expect(waiting.locator(".spinner")).to_be_visible()
    expect(page.locator("[aria-live=polite]")).to_have_attribute("aria-busy", "true")
    gateway.release_posts()
    expect(page.locator("h3")).to_be_visible()
    button = page.get_by_role("button", name="Classify")
    expect(button).to_be_enabled()
    expect(button).to_be_focused()
    expect(button.locator(".spinner")).to_be_hidden()
    expect(page.locator("[aria-live=polite]")).to_have_attribute("aria-busy", "false")


def test_reduced_motion_stops_all_animations(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.hold_posts()
    animations = {}
    for preference in ("no-preference", "reduce"):
        page = open_page("covertype", reduced_motion=preference)
        page.get_by_role("button", name="Classify").click()
        expect(page.locator(".spinner")).to_be_visible()
        animations[preference] = page.evaluate("document.getAnimations().length")
    assert animations == {"no-preference": 2, "reduce": 0}


def test_changing_the_input_discards_the_pending_answer(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.hold_posts()
    page = open_page("covertype")
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Classify").click()
        expect(page.get_by_role("button", name="Classifying…")).to_be_disabled()
        page.get_by_label("Elevation").fill("77")
    expect(page.get_by_role("button", name="Classify")).to_be_enabled()
    expect(page.locator("[aria-live=polite]")).to_have_text("The answer will appear here.")


def test_slow_server_times_out_and_try_again_resends(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.hold_posts()
    page = open_page("covertype", clock=True)
    with page.expect_request(lambda request: request.method == "POST"):
        page.get_by_role("button", name="Classify").click()
    page.clock.run_for(29_000)
    expect(page.get_by_role("button", name="Classifying…")).to_be_disabled()
    page.clock.run_for(2_000)
    expect(page.get_by_role("alert")).to_contain_text("No answer after 30 seconds.")
    gateway.release_posts()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("h3")).to_be_visible()


def test_network_failure_is_shown_and_try_again_resends(open_page: OpenPage) -> None:
    page = open_page("covertype")
    expect(page.get_by_label("Elevation")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("alert")).to_contain_text("Can't reach the server.")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("h3")).to_be_visible()


def test_missing_model_shows_when_to_try_again(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.fail_posts(503, "covertype has no champion", retry_after="7")
    page = open_page("covertype", clock=True)
    page.get_by_role("button", name="Classify").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This pipeline has no model yet.")
    expect(alert).to_contain_text("Try again in 7 s.")
    expect(alert.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize(
    ("language", "text"), [("en-GB", "Details: no such column"), ("es-ES", "Detalle (en inglés): no such column")]
)
def test_detail_of_the_server_is_introduced_in_the_language_of_the_page(
    open_page: OpenPage, gateway: FakeGateway, language: str, text: str
) -> None:
    gateway.fail_posts(422, "no such column")
    page = open_page("covertype", locale=language)
    page.locator("button[type=submit]").click()
    expect(page.get_by_role("alert")).to_contain_text(text)


@pytest.mark.parametrize("status", [404, 500, 502])
def test_page_retries_while_no_function_answers(open_page: OpenPage, gateway: FakeGateway, status: int) -> None:
    def fail_once() -> Response:
        gateway.post_error = None
        return Response("error finding function classify", status)

    gateway.post_error = fail_once
    page = open_page("covertype", clock=True)
    page.evaluate(RECORD_POST_TIMES)
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_role("button", name="Classifying…")).to_be_disabled()
    [pause] = pauses(post_times_until(page, page.locator("h3").is_visible))
    assert 1_000 <= pause <= 1_500
    assert len(gateway.received) == 2


def test_leaving_a_pipeline_stops_its_retries(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.unavailable_cards = {"covertype"}
    page = open_page("covertype", clock=True)
    wait_until(lambda: "covertype" in gateway.requested_cards)
    page.locator('#pipelines a[href="#pets"]').click()
    expect(page.locator("#picture")).to_be_attached()
    gateway.unavailable_cards = set()
    requests_before = gateway.requested_cards.count("covertype")
    page.clock.run_for(3_000)
    expect(page.locator("#picture")).to_be_attached()
    assert gateway.requested_cards.count("covertype") == requests_before


def test_error_page_of_a_proxy_is_not_shown(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.post_error = lambda: Response("<h1>Bad Gateway</h1>", 502)
    page = open_page("covertype", clock=True)
    page.evaluate(RECORD_POST_TIMES)
    page.get_by_role("button", name="Classify").click()
    alert = page.get_by_role("alert")
    times = post_times_until(page, alert.count)
    assert all(1_000 <= pause <= 1_500 for pause in pauses(times)), pauses(times)
    assert 20_000 < times[-1]["answered"] - times[0]["sent"] < 40_000
    expect(alert).to_contain_text("The service is not available right now.")
    expect(alert).not_to_contain_text("<h1>")
    gateway.post_error = None
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator("h3")).to_be_visible()


def test_answer_of_a_new_version_updates_the_model_card_and_stays(open_page: OpenPage, gateway: FakeGateway) -> None:
    page = open_page("covertype")
    expect(page.locator(".model-card .facts dd").first).to_have_text("12")
    gateway.cards["covertype"]["model"]["version"] = "13"
    gateway.answers["covertype"]["model"]["version"] = "13"
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".model-card .facts dd").first).to_have_text("13")
    expect(page.locator(".answer-source")).to_contain_text("covertype, version 13")
