"""The bars of a row: what each value adds to the probability of the label."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from browser import documents
from browser.gateway import Gateway
from browser.steps import ask_why, classify_row

pytestmark = [pytest.mark.browser, pytest.mark.full]

Open = Callable[..., Page]


def test_effects_of_a_row_are_bars_from_the_middle_largest_first(open_page: Open, gateway: Gateway) -> None:
    page = open_page("covertype")
    classify_row(page)
    ask_why(page)
    [first, again] = gateway.received
    assert (again.query, json.loads(again.body)) == ("explain=1", json.loads(first.body))
    expect(page.locator(".effects li")).to_have_text(
        [
            "Elevation+31 points2,596\u00a0m · typical 2,996.25\u00a0m",
            "Wilderness area−18 pointsRawah · typical Commanche",
            "Aspect−2.5 points51° · typical 155°",
            "Soil type+0.5 pointsC7745 · typical C7756",
            "3 others, each below half a point+0.3 points",
        ]
    )
    expect(page.locator(".effects-caption")).to_contain_text("to the probability of Lodgepole pine")
    bars = page.locator(".effects .fill").evaluate_all(
        """(fills) => fills.map((fill) => {
            const [whole, part] = [fill.parentElement, fill].map((one) => one.getBoundingClientRect());
            return [part.left, part.right].map((edge) => (edge - whole.left) / whole.width - 0.5);
        })"""
    )
    assert bars[0] == pytest.approx([0, 0.5], abs=0.01)
    assert bars[1] == pytest.approx([-0.5 * 0.18 / 0.312, 0], abs=0.01)
    assert bars[2] == pytest.approx([-0.5 * 0.0251 / 0.312, 0], abs=0.01)


def test_effects_follow_the_language(open_page: Open) -> None:
    page = open_page("covertype", locale="es-MX")
    classify_row(page)
    page.get_by_role("button", name="¿Por qué?").click()
    effects = page.locator(".effects li")
    expect(effects.nth(2)).to_have_text("Orientación−2,5 puntos51° · típico 155°")
    expect(effects.last).to_have_text("3 más, cada uno de menos de medio punto+0,3 puntos")
    expect(page.locator(".explanation h4")).to_have_text("¿Por qué Pino contorto?")
    page.get_by_role("button", name="English").click()
    expect(effects.nth(2)).to_have_text("Aspect−2.5 points51° · typical 155°")


@pytest.mark.parametrize(
    ("effects", "told"),
    [
        (
            [documents.effect("Slope", 3, 14, -0.0049), documents.effect("Aspect", 5, 9, 0.0049)],
            "No value alone moves the probability of Lodgepole pine by half a percentage point.",
        ),
        (
            [documents.effect("Slope", 3, 3, 0), documents.effect("Soil_Type", "C7745", "C7745", 0)],
            "Every value here is the typical one of its column",
        ),
    ],
)
def test_a_row_of_which_no_value_counts_is_said(
    open_page: Open, gateway: Gateway, effects: list[documents.Document], told: str
) -> None:
    gateway.explanations["covertype"]["effects"] = effects
    page = open_page("covertype")
    classify_row(page)
    ask_why(page)
    expect(page.locator(".explanation p")).to_contain_text(told)
    expect(page.locator(".effects")).to_have_count(0)


def test_small_effects_have_small_bars_and_one_other_is_told_as_one(open_page: Open, gateway: Gateway) -> None:
    gateway.explanations["covertype"]["effects"] = [
        documents.effect("Slope", 3, 14, 0.01),
        documents.effect("a column of before", "", "x", -0.0003),
    ]
    page = open_page("covertype")
    classify_row(page)
    ask_why(page)
    expect(page.locator(".effects li")).to_have_text(
        ["Slope+1.0 points3° · typical 14°", "1 other, below half a point0.0 points"]
    )
    share = "(fill) => fill.offsetWidth / fill.parentElement.offsetWidth"
    assert page.locator(".effects .fill").evaluate(share) == pytest.approx(0.05, abs=0.01)
