"""The heatmap over a picture: which parts speak for the label."""

import io
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from browser import documents
from browser.gateway import Gateway
from browser.steps import ask_why, classify_picture
from deployment.smoke import a_picture

pytestmark = [pytest.mark.browser, pytest.mark.full]

Open = Callable[..., Page]
# [red, green, blue, alpha] in the middle of a part of the heatmap
PART = """(canvas, [row, column, rows, columns]) => [...canvas.getContext("2d").getImageData(
    (column + 0.5) * canvas.width / columns, (row + 0.5) * canvas.height / rows, 1, 1).data]"""


def test_heatmap_is_warm_where_a_part_speaks_for_the_label_and_cool_where_not(open_page: Open, picture: Any) -> None:
    page = open_page("pets")
    classify_picture(page, picture)
    ask_why(page)
    canvas = page.locator("canvas.heat")
    shape = [len(documents.HEAT), len(documents.HEAT[0])]
    for row, values in enumerate(documents.HEAT):
        for column, value in enumerate(values):
            red, _, blue, alpha = canvas.evaluate(PART, [row, column, *shape])
            assert 100 < alpha < 160  # the picture is seen through it
            if value == 1:
                assert red > 230 and red > blue + 100
            elif value == 0:
                assert red < 60 and red < blue


def test_heatmap_covers_the_picture(open_page: Open, picture: Any) -> None:
    page = open_page("pets")
    classify_picture(page, picture)
    ask_why(page)
    [image, canvas] = _boxes(page)
    assert image == canvas
    assert image["height"] == 320  # a small picture is shown large enough to see
    expect(page.locator("figcaption")).not_to_contain_text("outside")


def test_heatmap_lies_on_the_part_that_was_looked_at(open_page: Open, gateway: Gateway, picture: Any) -> None:
    gateway.explanations["pets"] |= {"values": [[1, 0], [0, 0]], "region": [0.4, 0.25, 0.9, 0.75]}
    page = open_page("pets")
    classify_picture(page, picture)
    ask_why(page)
    [image, canvas] = _boxes(page)
    assert canvas["left"] - image["left"] == pytest.approx(0.4 * image["width"], abs=1)
    assert canvas["top"] - image["top"] == pytest.approx(0.25 * image["height"], abs=1)
    assert canvas["width"] == pytest.approx(0.5 * image["width"], abs=1)
    assert canvas["height"] == pytest.approx(0.5 * image["height"], abs=1)
    expect(page.locator("figcaption")).to_contain_text("What lies outside the colours was not looked at.")
    # The first of its parts is not at the top left of the picture.
    expect(page.get_by_role("img", name="Heatmap")).to_have_accessible_name(re.compile("is in the middle"))


def _boxes(page: Page) -> list[dict[str, float]]:
    """Where the picture and the heatmap are."""
    script = "(both) => both.map((one) => one.getBoundingClientRect().toJSON())"
    return list(page.locator(".heat-frame > *").evaluate_all(script))


def test_a_turned_picture_is_shown_upright_under_its_heatmap(open_page: Open) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    Image.open(io.BytesIO(a_picture(60, 30))).save(file, "JPEG", exif=exif)
    page = open_page("pets")
    classify_picture(page, {"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()})
    ask_why(page)
    canvas = page.locator("canvas.heat")
    box = canvas.bounding_box()
    assert box and box["width"] == pytest.approx(box["height"] / 2, abs=1)


def test_colours_grow_lighter_with_the_value(open_page: Open, picture: Any) -> None:
    page = open_page("pets")
    classify_picture(page, picture)
    ask_why(page)
    for ground in (0, 128, 255):
        light = page.locator("canvas.heat-scale").evaluate(
            """(canvas, ground) => Array.from({ length: 60 }, (_, step) => {
                const at = canvas.width * (step + 0.5) / 60;
                const [r, g, b, a] = canvas.getContext("2d").getImageData(at, 9, 1, 1).data;
                const [red, green, blue] = [r, g, b].map((one) => ((one * a + ground * (255 - a)) / 65025) ** 2.2);
                return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
            })""",
            ground,
        )
        steps = [later - before for before, later in itertools.pairwise(light)]
        assert min(steps) > -0.002 and light[-1] > light[0] + 0.2, ground  # colours are whole numbers


def test_the_colours_can_be_hidden_and_shown_by_keyboard(open_page: Open, picture: Any) -> None:
    page = open_page("pets")
    classify_picture(page, picture)
    page.get_by_role("button", name="Why?").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".explanation h4")).to_be_focused()
    canvas = page.locator("canvas.heat")
    expect(canvas).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Hide the colours")).to_be_focused()
    page.keyboard.press("Enter")
    expect(canvas).to_be_hidden()
    expect(page.get_by_alt_text("The picture chosen: cat.png").last).to_be_visible()
    page.get_by_role("button", name="Show the colours").press("Space")
    expect(canvas).to_be_visible()


@pytest.mark.parametrize(
    ("values", "english", "spanish"),
    [
        (documents.HEAT, "in the middle and on the left", "en el centro y a la izquierda"),
        (
            [[1, 0, 0], [0, 0, 0], [0.1, 0, 0.7]],
            "at the top left and at the bottom right",
            "arriba a la izquierda y abajo a la derecha",
        ),
        ([[1, 1], [1, 1]], "spread over the picture", "repartido por la imagen"),
        ([[0.2] * 7] * 5 + [[0.2] * 5 + [1, 0.8]] * 2, "at the bottom right", "abajo a la derecha"),
    ],
)
def test_heatmap_is_told_in_words_too(
    open_page: Open, gateway: Gateway, picture: Any, values: list[list[float]], english: str, spanish: str
) -> None:
    gateway.explanations["pets"]["values"] = values
    page = open_page("pets")
    classify_picture(page, picture)
    ask_why(page)
    told = page.get_by_role("img", name="Heatmap")
    expect(told).to_have_accessible_name(f"Heatmap over the picture: what speaks most for Cat is {english}.")
    page.get_by_role("button", name="Español").click()
    words = f"Mapa de calor sobre la imagen: lo que más habla a favor de Gato está {spanish}."
    expect(page.get_by_role("img", name="Mapa de calor")).to_have_accessible_name(words)
    expect(page.locator("figcaption")).to_contain_text("Cuanto más cálido, más habla esta parte a favor de Gato.")
    expect(page.locator(".explanation h4")).to_have_text("¿Por qué Gato?")
    expect(page.get_by_role("button", name="Ocultar los colores")).to_be_visible()


def test_a_picture_of_which_no_part_speaks_for_the_label_is_said(
    open_page: Open, gateway: Gateway, picture: Any
) -> None:
    gateway.explanations["pets"]["values"] = [[0.0] * 7] * 7
    page = open_page("pets")
    classify_picture(page, picture)
    ask_why(page)
    expect(page.locator(".explanation p")).to_have_text("No part of the picture speaks for Cat.")
    expect(page.locator("canvas")).to_have_count(0)


def test_heatmap_of_a_picture_that_the_browser_can_not_show_stands_alone(open_page: Open) -> None:
    page = open_page("pets")
    classify_picture(page, {"name": "cat.webp", "mimeType": "image/webp", "buffer": b"not for browsers"})
    ask_why(page)
    expect(page.locator("figure")).to_contain_text("This file can't be shown as a picture.")
    expect(page.locator("canvas.heat")).to_be_visible()
    box = page.locator("canvas.heat").bounding_box()
    assert box and box["height"] > 100
