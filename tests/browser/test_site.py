"""Pipelines, the model card, language and the page as a whole."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser import documents
from browser.gateway import SITE, Gateway
from browser.steps import CONTRAST, ask_why
from shapes import validate

pytestmark = [pytest.mark.browser, pytest.mark.full]

Open = Callable[..., Page]
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ("classify_index", documents.index()),
        ("model_card", documents.card("pets")),
        ("model_card", documents.card("covertype")),
        ("predictions", documents.predictions("pets")),
        ("predictions", documents.predictions("covertype")),
        *(
            ("predictions", documents.explained(documents.predictions(name), documents.explanation(name)))
            for name in ("pets", "covertype")
        ),
        ("problem", documents.problem(422, "no", [{"field": "Slope", "detail": "no"}])),
    ],
)
def test_the_stand_in_answers_as_the_contract_says(schema: str, document: dict[str, Any]) -> None:
    validate(document, schema)


def test_the_first_pipeline_with_a_model_is_shown(open_page: Open, gateway: Gateway) -> None:
    gateway.index["pipelines"].reverse()
    page = open_page()
    expect(page.locator("[aria-current=page]")).to_contain_text("Forest cover")


def test_a_pipeline_is_chosen_and_can_be_linked(open_page: Open) -> None:
    page = open_page("covertype")
    expect(page.get_by_label("Elevation")).to_be_visible()
    page.get_by_role("link", name="Cats and dogs").click()
    expect(page.get_by_text("Choose a picture")).to_be_visible()
    expect(page).to_have_url(re.compile("#pets$"))
    page.go_back()
    expect(page.get_by_label("Elevation")).to_be_visible()


def test_a_pipeline_that_does_not_exist_is_said(open_page: Open) -> None:
    page = open_page("unicorns")
    expect(page.get_by_role("alert")).to_contain_text("There is no pipeline “unicorns”")


def test_pipeline_without_model_says_when_to_try_again(open_page: Open, gateway: Gateway) -> None:
    page = open_page("mushrooms", clock=True)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("No model yet.")
    expect(alert).to_contain_text("Try again in 15 s.")
    page.clock.run_for(5000)
    expect(alert).to_contain_text("Try again in 10 s.")
    page.clock.run_for(11000)
    expect(alert).to_contain_text("You can try again now.")
    gateway.index["pipelines"][2].update(ready=True, version="1")
    gateway.cards["mushrooms"] = documents.card("covertype") | {"pipeline": "mushrooms"}
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Elevation")).to_be_visible()
    expect(page.locator("#pipelines a").nth(2)).to_contain_text("version 1")


def test_model_card_shows_version_data_and_metrics_with_intervals(open_page: Open) -> None:
    page = open_page("pets", timezone_id="UTC")
    facts = page.locator(".card > .facts > div")
    expect(facts).to_have_text(
        [
            "Version3",
            "Examples12,265",
            "TrainedMar 2, 2026, 12:30 PM",
            "Accuracy96.2%(95.1% to 97.3%)",
            "Macro F193.2%(91.8% to 94.6%)",
        ],
    )
    expect(page.locator(".stale")).to_have_count(0)
    row = page.get_by_role("row", name="Cat")
    expect(row).to_be_hidden()
    page.get_by_text("More about this model").click()
    expect(row).to_contain_text("77%(75% to 79%)")
    expect(page.locator("details")).to_contain_text("2,453")


SMALL_FACTS = ".card details .facts > div"


def test_model_card_tells_the_error_of_sure_answers_as_stated_and_as_measured(
    open_page: Open, gateway: Gateway
) -> None:
    page = open_page("pets")
    page.get_by_text("More about this model").click()
    for told in (
        "Calibration error if perfect0.016(0.011 to 0.021)",
        "Sure from72%",
        "Sure answers wrong, at most2%",
        "Sure answers wrong, measured1.3%(0.8% to 1.8%)",
        "Answers that are sure81%(79% to 83%)",
        "Known examples called unknown0.6%(0.3% to 0.9%)",
    ):
        expect(page.locator(SMALL_FACTS).get_by_text(told)).to_be_visible()
    gateway.cards["covertype"]["thresholds"] |= {"sure": 1.0}
    page.get_by_role("link", name="Forest cover").click()
    page.get_by_text("More about this model").click()
    expect(page.locator(SMALL_FACTS).get_by_text("Sure fromno confidence")).to_be_visible()


def test_model_card_of_a_version_that_told_less_shows_what_it_told(open_page: Open, gateway: Gateway) -> None:
    card = gateway.cards["pets"]
    del card["thresholds"]["error"]
    for name in ("calibration_error_ideal", "sure_share", "sure_error", "unknown_share"):
        del card["metrics"][name]
    page = open_page("pets")
    page.get_by_text("More about this model").click()
    expect(page.locator(SMALL_FACTS)).to_have_text(
        [re.compile(name) for name in ("^Log loss", "^Calibration error0", "^Sure from72%", "^Snapshot")]
    )


def test_made_up_data_are_labelled_and_others_are_not(open_page: Open) -> None:
    page = open_page("pets")
    expect(page.locator(".card-head").get_by_text("made-up data")).to_be_visible()
    page.get_by_role("link", name="Forest cover").click()
    expect(page.locator(".card-head")).to_have_text("Forest cover")


def test_a_stale_model_says_since_when(open_page: Open, gateway: Gateway) -> None:
    gateway.cards["pets"]["stale_since"] = "2026-03-05T08:00:00Z"
    page = open_page("pets", timezone_id="UTC")
    expect(page.locator(".stale")).to_contain_text("Out of date since Mar 5, 2026, 8:00 AM")


def test_language_follows_the_browser(open_page: Open) -> None:
    page = open_page("covertype", locale="es-MX")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    expect(page.get_by_label("Elevación")).to_be_visible()
    expect(page).to_have_title("Cobertura forestal · Sabueso")


def test_language_switch_rewrites_the_page_keeps_the_input_and_is_remembered(open_page: Open) -> None:
    page = open_page("covertype")
    page.get_by_label("Elevation").fill("1234")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("h3")).to_have_text("Lodgepole pine")
    page.get_by_role("button", name="Español").click()
    expect(page.locator("html")).to_have_attribute("lang", "es")
    expect(page).to_have_title("Cobertura forestal · Sabueso")
    expect(page.locator("h3")).to_have_text("Pino contorto")
    expect(page.get_by_label("Elevación")).to_have_value("1234")
    expect(page.get_by_role("button", name="Español")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.get_by_role("button", name="Clasificar")).to_be_visible()


def test_every_sentence_exists_in_both_languages() -> None:
    """With the same facts to fill in: {n}, {date}..."""
    english, spanish = (SITE / "words.js").read_text(encoding="utf-8").split("\n  es: {")
    sentence = re.compile(r'^    (\w+): "(.*)",$', re.MULTILINE)
    facts = [
        {key: sorted(re.findall(r"\{\w+\}", words)) for key, words in sentence.findall(part)}
        for part in (english, spanish)
    ]
    assert len(facts[0]) > 50
    assert facts[0] == facts[1]


@pytest.mark.parametrize("pipeline", ["pets", "covertype", "mushrooms"])
def test_no_horizontal_scroll_on_a_phone(open_page: Open, picture: Any, pipeline: str) -> None:
    page = open_page(pipeline, locale="es-MX", **PHONE)
    if pipeline == "mushrooms":
        expect(page.get_by_role("alert")).to_be_visible()
    else:
        if pipeline == "pets":
            page.set_input_files("#picture", picture | {"name": "gato" * 40 + ".png"})
        page.get_by_text("Más sobre este modelo").click()
        page.get_by_role("button", name="Clasificar").click()
        expect(page.locator("h3")).to_be_visible()
        expect(page.locator(".origin")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_page_makes_no_request_elsewhere_and_logs_no_errors(open_page: Open, gateway: Gateway, picture: Any) -> None:
    page = open_page("covertype")
    asked: list[str] = []
    logged: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: logged.append(message.text))
    page.reload()
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("h3")).to_be_visible()
    ask_why(page)
    page.get_by_role("link", name="Cats and dogs").click()
    page.set_input_files("#picture", picture)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("h3")).to_have_text("Cat")
    ask_why(page)
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((f"{gateway.url}/", f"blob:{gateway.url}/"))] == []
    assert logged == []


def test_content_security_policy_stops_other_origins_and_inline_code(open_page: Open, gateway: Gateway) -> None:
    page = open_page("pets")
    expect(page.locator(".card")).to_be_visible()
    elsewhere = f"{gateway.url}/".replace("127.0.0.1", "localhost")
    stopped = page.evaluate(
        """async (elsewhere) => {
            const stopped = [];
            addEventListener("securitypolicyviolation", (event) => stopped.push(event.effectiveDirective));
            await fetch(elsewhere).catch(() => null);
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const style = document.createElement("style");
            document.body.append(style);
            style.textContent = "body { display: none }";
            const until = performance.now() + 20000;  // events are told later, each by a task of its own
            while (new Set(stopped).size < 3 && performance.now() < until) {
                await new Promise((done) => setTimeout(done, 10));
            }
            return [[...new Set(stopped)].sort(), window.ran ?? false];
        }""",
        elsewhere,
    )
    assert stopped == [["connect-src", "script-src-elem", "style-src-elem"], False]


def test_gateway_can_be_another_origin(open_page: Open, gateway: Gateway) -> None:
    elsewhere = gateway.url.replace("127.0.0.1", "localhost")
    gateway.metas = {
        'name="sabueso-gateway" content=""': f'name="sabueso-gateway" content="{elsewhere}/"',
        "connect-src 'self'": f"connect-src {elsewhere}",
    }
    page = open_page("covertype")
    with page.expect_request(lambda request: request.method == "POST") as sent:
        page.get_by_role("button", name="Classify").click()
    assert sent.value.url == f"{elsewhere}/function/classify/covertype"


def test_mlflow_is_linked_only_when_its_address_is_set(open_page: Open, gateway: Gateway) -> None:
    page = open_page("pets")
    expect(page.locator(".card")).to_be_visible()
    expect(page.locator("footer a")).to_have_count(0)
    gateway.metas = {'name="sabueso-mlflow" content=""': 'name="sabueso-mlflow" content="/mlflow/"'}
    page.reload()
    expect(page.get_by_role("link", name="Training runs in MLflow")).to_have_attribute("href", "/mlflow/")


def test_dark_and_light_follow_the_system_with_enough_contrast(open_page: Open) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        page = open_page("covertype", color_scheme=scheme, reduced_motion="reduce")
        page.get_by_role("button", name="Classify").click()
        expect(page.locator("h3")).to_be_visible()
        ask_why(page)
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page_as_a_whole = (".hint", ".lead", ".status", ".send", ".facts dt", ".name p", "footer p", "summary")
        for selector in (*page_as_a_whole, ".explanation h4", ".effects small", ".effects .others .bar-share"):
            assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, (scheme, selector)
    assert len(grounds) == 2
