"""The explanation of a row: how much each value adds to the probability of the label."""

import json

import pytest
from playwright.sync_api import expect

from browser import sample_answers
from browser.fake_gateway import FakeGateway
from browser.steps import OpenPage, classify_row, press_why

pytestmark = [pytest.mark.browser, pytest.mark.full]


def test_effects_are_bars_from_the_middle_largest_first(open_page: OpenPage, gateway: FakeGateway) -> None:
    page = open_page("covertype")
    classify_row(page)
    press_why(page)
    [classified, explained] = gateway.received
    assert (explained.query, json.loads(explained.body)) == ("explain=1", json.loads(classified.body))
    expect(page.locator(".effects li")).to_have_text(
        [
            "Elevation+31 points2,596\u00a0m · typical 2,996.25\u00a0m",
            "Wilderness area−18 pointsRawah · typical Commanche",
            "Aspect−2.5 points51° · typical 155°",
            "Soil type+0.5 pointsC7745 · typical C7756",
            "3 other values, each under half a point+0.3 points",
        ]
    )
    expect(page.locator(".effects-caption")).to_contain_text(
        "the probability of “Lodgepole pine”, in percentage points"
    )
    bars = page.locator(".effects .fill").evaluate_all(
        """(fills) => fills.map((fill) => {
            const [bar, filled] = [fill.parentElement, fill].map((element) => element.getBoundingClientRect());
            return [filled.left, filled.right].map((edge) => (edge - bar.left) / bar.width - 0.5);
        })"""
    )
    assert bars[0] == pytest.approx([0, 0.5], abs=0.01)
    assert bars[1] == pytest.approx([-0.5 * 0.18 / 0.312, 0], abs=0.01)
    assert bars[2] == pytest.approx([-0.5 * 0.0251 / 0.312, 0], abs=0.01)


def test_effects_switch_language(open_page: OpenPage) -> None:
    page = open_page("covertype", locale="es-MX")
    classify_row(page)
    page.get_by_role("button", name="¿Por qué?").click()
    effects = page.locator(".effects li")
    expect(effects.nth(2)).to_have_text("Orientación−2,5 puntos51° · típico 155°")
    expect(effects.last).to_have_text("3 valores más, cada uno de menos de medio punto+0,3 puntos")
    expect(page.locator(".explanation h4")).to_have_text("¿Por qué «Pino contorto»?")
    page.get_by_role("button", name="English").click()
    expect(effects.nth(2)).to_have_text("Aspect−2.5 points51° · typical 155°")


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        (
            [sample_answers.effect("Slope", 3, 14, -0.0049), sample_answers.effect("Aspect", 5, 9, 0.0049)],
            "No single value changes the probability of “Lodgepole pine” by half a percentage point or more.",
        ),
        (
            [sample_answers.effect("Slope", 3, 3, 0), sample_answers.effect("Soil_Type", "C7745", "C7745", 0)],
            "Every value is the typical one of its column",
        ),
    ],
)
def test_a_message_replaces_the_bars_when_no_value_has_an_effect(
    open_page: OpenPage, gateway: FakeGateway, effects: list[sample_answers.Document], message: str
) -> None:
    gateway.explanations["covertype"]["effects"] = effects
    page = open_page("covertype")
    classify_row(page)
    press_why(page)
    expect(page.locator(".explanation p")).to_contain_text(message)
    expect(page.locator(".effects")).to_have_count(0)


def test_small_effects_have_small_bars_and_a_single_other_is_singular(
    open_page: OpenPage, gateway: FakeGateway
) -> None:
    gateway.explanations["covertype"]["effects"] = [
        sample_answers.effect("Slope", 3, 14, 0.01),
        sample_answers.effect("removed column", "", "x", -0.0003),
    ]
    page = open_page("covertype")
    classify_row(page)
    press_why(page)
    expect(page.locator(".effects li")).to_have_text(
        ["Slope+1.0 points3° · typical 14°", "1 other value, under half a point0.0 points"]
    )
    relative_width = "(fill) => fill.offsetWidth / fill.parentElement.offsetWidth"
    assert page.locator(".effects .fill").evaluate(relative_width) == pytest.approx(0.05, abs=0.01)
