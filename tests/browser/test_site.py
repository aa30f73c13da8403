"""The list of pipelines, the model card, the language switch and the page as a whole."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.fake_gateway import SITE, FakeGateway
from browser.sample_answers import explained, explanation, index, model_card, predictions, problem
from browser.steps import CONTRAST_RATIO, OpenPage, press_why
from shapes import validate

pytestmark = [pytest.mark.browser, pytest.mark.full]

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ("classify_index", index()),
        ("model_card", model_card("pets")),
        ("model_card", model_card("covertype")),
        ("predictions", predictions("pets")),
        ("predictions", predictions("covertype")),
        ("predictions", explained(predictions("pets"), explanation("pets"))),
        ("predictions", explained(predictions("covertype"), explanation("covertype"))),
        ("problem", problem(422, "no", [{"field": "Slope", "detail": "no"}])),
    ],
)
def test_sample_answers_match_the_schemas(schema: str, document: dict[str, Any]) -> None:
    validate(document, schema)


def test_first_pipeline_with_a_model_is_shown(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.index["pipelines"].reverse()
    page = open_page()
    expect(page.locator("[aria-current=page]")).to_contain_text("Forest cover")


def test_pipeline_can_be_chosen_and_linked_to(open_page: OpenPage) -> None:
    page = open_page("covertype")
    expect(page.get_by_label("Elevation")).to_be_visible()
    page.get_by_role("link", name="Cats and dogs").click()
    expect(page.get_by_text("Choose a picture")).to_be_visible()
    expect(page).to_have_url(re.compile("#pets$"))
    page.go_back()
    expect(page.get_by_label("Elevation")).to_be_visible()


def test_unknown_pipeline_in_the_address_shows_a_problem(open_page: OpenPage) -> None:
    page = open_page("unicorns")
    expect(page.get_by_role("alert")).to_contain_text("There is no pipeline “unicorns”")


def test_pipeline_without_a_model_shows_when_to_try_again(open_page: OpenPage, gateway: FakeGateway) -> None:
    page = open_page("mushrooms", clock=True)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This pipeline has no model yet.")
    expect(alert).to_contain_text("Try again in 15 s.")
    page.clock.run_for(5000)
    expect(alert).to_contain_text("Try again in 10 s.")
    page.clock.run_for(11000)
    expect(alert).to_contain_text("You can try again now.")
    gateway.index["pipelines"][2].update(ready=True, version="1")
    gateway.cards["mushrooms"] = model_card("covertype") | {"pipeline": "mushrooms"}
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Elevation")).to_be_visible()
    expect(page.locator("#pipelines a").nth(2)).to_contain_text("version 1")


def test_model_card_shows_version_examples_and_metrics_with_intervals(open_page: OpenPage) -> None:
    page = open_page("pets", timezone_id="UTC")
    facts = page.locator(".model-card > .facts > div")
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


DETAIL_FACTS = ".model-card details .facts > div"


def test_model_card_shows_the_stated_and_the_measured_error_of_sure_answers(
    open_page: OpenPage, gateway: FakeGateway
) -> None:
    page = open_page("pets")
    page.get_by_text("More about this model").click()
    for fact in (
        "Calibration error of a perfectly calibrated model0.016(0.011 to 0.021)",
        "Threshold for “sure”72%",
        "Error rate of sure answers, at most2%",
        "Error rate of sure answers, measured1.3%(0.8% to 1.8%)",
        "Share of sure answers81%(79% to 83%)",
        "Holdout examples marked as unknown0.6%(0.3% to 0.9%)",
    ):
        expect(page.locator(DETAIL_FACTS).get_by_text(fact)).to_be_visible()
    gateway.cards["covertype"]["thresholds"] |= {"sure": 1.0}
    page.get_by_role("link", name="Forest cover").click()
    page.get_by_text("More about this model").click()
    expect(page.locator(DETAIL_FACTS).get_by_text("Threshold for “sure”never sure")).to_be_visible()


def test_model_card_of_an_older_version_leaves_out_missing_metrics(open_page: OpenPage, gateway: FakeGateway) -> None:
    card = gateway.cards["pets"]
    del card["thresholds"]["error"]
    for name in ("calibration_error_ideal", "sure_share", "sure_error", "unknown_share"):
        del card["metrics"][name]
    page = open_page("pets")
    page.get_by_text("More about this model").click()
    expect(page.locator(DETAIL_FACTS)).to_have_text(
        [re.compile(name) for name in ("^Log loss", "^Calibration error0", "^Threshold for “sure”72%", "^Snapshot")]
    )


def test_only_made_up_data_are_labelled_as_such(open_page: OpenPage) -> None:
    page = open_page("pets")
    expect(page.locator(".model-card-header").get_by_text("made-up data")).to_be_visible()
    page.get_by_role("link", name="Forest cover").click()
    expect(page.locator(".model-card-header")).to_have_text("Forest cover")


def test_stale_model_shows_since_when(open_page: OpenPage, gateway: FakeGateway) -> None:
    gateway.cards["pets"]["stale_since"] = "2026-03-05T08:00:00Z"
    page = open_page("pets", timezone_id="UTC")
    expect(page.locator(".stale")).to_contain_text("Possibly out of date since Mar 5, 2026, 8:00 AM.")


def test_language_follows_the_browser(open_page: OpenPage) -> None:
    page = open_page("covertype", locale="es-MX")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    expect(page.get_by_label("Elevación")).to_be_visible()
    expect(page).to_have_title("Cobertura forestal · Sabueso")


def test_language_switch_keeps_the_input_and_is_remembered(open_page: OpenPage) -> None:
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


def test_both_languages_have_the_same_texts_and_placeholders() -> None:
    source = (SITE / "translations.js").read_text(encoding="utf-8")
    entry = re.compile(r'^    (\w+): "(.*)",$', re.MULTILINE)
    english, spanish = (
        {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in entry.findall(language)}
        for language in source.split("\n  es: {")
    )
    assert len(english) > 50
    assert english == spanish


@pytest.mark.parametrize("pipeline", ["pets", "covertype", "mushrooms"])
def test_no_horizontal_scroll_on_a_phone(open_page: OpenPage, picture: Any, pipeline: str) -> None:
    page = open_page(pipeline, locale="es-MX", **PHONE)
    if pipeline == "mushrooms":
        expect(page.get_by_role("alert")).to_be_visible()
    else:
        if pipeline == "pets":
            page.set_input_files("#picture", picture | {"name": "gato" * 40 + ".png"})
        page.get_by_text("Más sobre este modelo").click()
        page.get_by_role("button", name="Clasificar").click()
        expect(page.locator("h3")).to_be_visible()
        expect(page.locator(".answer-source")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_page_calls_no_other_origin_and_logs_nothing(open_page: OpenPage, gateway: FakeGateway, picture: Any) -> None:
    page = open_page("covertype")
    requested: list[str] = []
    logged: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: logged.append(message.text))
    page.reload()
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("h3")).to_be_visible()
    press_why(page)
    page.get_by_role("link", name="Cats and dogs").click()
    page.set_input_files("#picture", picture)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("h3")).to_have_text("Cat")
    press_why(page)
    assert len(requested) > 10
    assert [url for url in requested if not url.startswith((f"{gateway.url}/", f"blob:{gateway.url}/"))] == []
    assert logged == []


def test_content_security_policy_blocks_other_origins_and_inline_code(
    open_page: OpenPage, gateway: FakeGateway
) -> None:
    page = open_page("pets")
    expect(page.locator(".model-card")).to_be_visible()
    other_origin = f"{gateway.url}/".replace("127.0.0.1", "localhost")
    blocked = page.evaluate(
        """async (otherOrigin) => {
            const blocked = [];
            addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
            await fetch(otherOrigin).catch(() => null);
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const style = document.createElement("style");
            document.body.append(style);
            style.textContent = "body { display: none }";
            const deadline = performance.now() + 20000;  // each event arrives in a later task
            while (new Set(blocked).size < 3 && performance.now() < deadline) {
                await new Promise((done) => setTimeout(done, 10));
            }
            return [[...new Set(blocked)].sort(), window.ran ?? false];
        }""",
        other_origin,
    )
    assert blocked == [["connect-src", "script-src-elem", "style-src-elem"], False]


def test_mlflow_link_appears_only_when_its_address_is_set(open_page: OpenPage, gateway: FakeGateway) -> None:
    page = open_page("pets")
    expect(page.locator(".model-card")).to_be_visible()
    expect(page.locator("footer a")).to_have_count(0)
    gateway.html_replacements = {'name="sabueso-mlflow" content=""': 'name="sabueso-mlflow" content="/mlflow/"'}
    page.reload()
    expect(page.get_by_role("link", name="See the trainings in MLflow")).to_have_attribute("href", "/mlflow/")


def test_light_and_dark_themes_follow_the_system_with_enough_contrast(open_page: OpenPage) -> None:
    backgrounds = set()
    for scheme in ("light", "dark"):
        page = open_page("covertype", color_scheme=scheme, reduced_motion="reduce")
        page.get_by_role("button", name="Classify").click()
        expect(page.locator("h3")).to_be_visible()
        press_why(page)
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page_selectors = (".hint", ".lead", ".status", ".submit", ".facts dt", ".site-name p", "footer p", "summary")
        for selector in (*page_selectors, ".explanation h4", ".effects small", ".effects .others .bar-value"):
            assert page.locator(selector).first.evaluate(CONTRAST_RATIO) >= 4.5, (scheme, selector)
    assert len(backgrounds) == 2
