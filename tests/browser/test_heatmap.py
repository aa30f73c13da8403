"""The explanation of a picture: a heatmap of the areas that point to the label."""

import io
import itertools
import re
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from browser import sample_answers
from browser.fake_gateway import FakeGateway
from browser.steps import OpenPage, classify_picture, press_why
from deployment.smoke import make_picture

pytestmark = [pytest.mark.browser, pytest.mark.full]

# [red, green, blue, alpha] at the centre of a cell of the heatmap
CELL_COLOUR = """(canvas, [row, column, rows, columns]) => [...canvas.getContext("2d").getImageData(
    (column + 0.5) * canvas.width / columns, (row + 0.5) * canvas.height / rows, 1, 1).data]"""


def test_heatmap_is_warm_where_values_are_high_and_cool_where_they_are_low(open_page: OpenPage, picture: Any) -> None:
    page = open_page("pets")
    classify_picture(page, picture)
    press_why(page)
    canvas = page.locator("canvas.heatmap")
    shape = [len(sample_answers.HEATMAP_VALUES), len(sample_answers.HEATMAP_VALUES[0])]
    for row, values in enumerate(sample_answers.HEATMAP_VALUES):
        for column, value in enumerate(values):
            red, _, blue, alpha = canvas.evaluate(CELL_COLOUR, [row, column, *shape])
            assert 100 < alpha < 160  # the picture shows through
            if value == 1:
                assert red > 230 and red > blue + 100
            elif value == 0:
                assert red < 60 and red < blue


def test_heatmap_covers_the_whole_picture(open_page: OpenPage, picture: Any) -> None:
    page = open_page("pets")
    classify_picture(page, picture)
    press_why(page)
    [image, canvas] = picture_and_heatmap_boxes(page)
    assert image == canvas
    assert image["height"] == 320  # small pictures are enlarged
    expect(page.locator("figcaption")).not_to_contain_text("does not see")


def test_heatmap_covers_only_the_region_that_the_model_sees(
    open_page: OpenPage, gateway: FakeGateway, picture: Any
) -> None:
    gateway.explanations["pets"] |= {"values": [[1, 0], [0, 0]], "region": [0.4, 0.25, 0.9, 0.75]}
    page = open_page("pets")
    classify_picture(page, picture)
    press_why(page)
    [image, canvas] = picture_and_heatmap_boxes(page)
    assert canvas["left"] - image["left"] == pytest.approx(0.4 * image["width"], abs=1)
    assert canvas["top"] - image["top"] == pytest.approx(0.25 * image["height"], abs=1)
    assert canvas["width"] == pytest.approx(0.5 * image["width"], abs=1)
    assert canvas["height"] == pytest.approx(0.5 * image["height"], abs=1)
    expect(page.locator("figcaption")).to_contain_text("The model does not see the area without colours.")
    # The strongest cell is the top left of the region, which is the middle of the picture.
    expect(page.get_by_role("img", name="Heatmap")).to_have_accessible_name(re.compile("are in the middle"))


def picture_and_heatmap_boxes(page: Page) -> list[dict[str, float]]:
    script = "(elements) => elements.map((element) => element.getBoundingClientRect().toJSON())"
    return list(page.locator(".heatmap-frame > *").evaluate_all(script))


def test_picture_with_exif_rotation_is_upright_under_the_heatmap(open_page: OpenPage) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    Image.open(io.BytesIO(make_picture(60, 30))).save(file, "JPEG", exif=exif)
    page = open_page("pets")
    classify_picture(page, {"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()})
    press_why(page)
    canvas = page.locator("canvas.heatmap")
    box = canvas.bounding_box()
    assert box and box["width"] == pytest.approx(box["height"] / 2, abs=1)


def test_colours_get_lighter_as_values_rise(open_page: OpenPage, picture: Any) -> None:
    page = open_page("pets")
    classify_picture(page, picture)
    press_why(page)
    for background in (0, 128, 255):
        luminances = page.locator("canvas.heatmap-scale").evaluate(
            """(canvas, background) => Array.from({ length: 60 }, (_, step) => {
                const x = canvas.width * (step + 0.5) / 60;
                const [r, g, b, a] = canvas.getContext("2d").getImageData(x, 9, 1, 1).data;
                const [red, green, blue] = [r, g, b].map(
                    (channel) => ((channel * a + background * (255 - a)) / 65025) ** 2.2);
                return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
            })""",
            background,
        )
        steps = [later - before for before, later in itertools.pairwise(luminances)]
        # Channels are rounded to whole numbers, so a step may fall a little.
        assert min(steps) > -0.002 and luminances[-1] > luminances[0] + 0.2, background


def test_colours_can_be_hidden_and_shown_with_the_keyboard(open_page: OpenPage, picture: Any) -> None:
    page = open_page("pets")
    classify_picture(page, picture)
    page.get_by_role("button", name="Why?").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".explanation h4")).to_be_focused()
    canvas = page.locator("canvas.heatmap")
    expect(canvas).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Hide the colours")).to_be_focused()
    page.keyboard.press("Enter")
    expect(canvas).to_be_hidden()
    expect(page.get_by_alt_text("Chosen picture: cat.png").last).to_be_visible()
    page.get_by_role("button", name="Show the colours").press("Space")
    expect(canvas).to_be_visible()


@pytest.mark.parametrize(
    ("values", "english", "spanish"),
    [
        (sample_answers.HEATMAP_VALUES, "in the middle and on the left", "en el centro y a la izquierda"),
        (
            [[1, 0, 0], [0, 0, 0], [0.1, 0, 0.7]],
            "at the top left and at the bottom right",
            "arriba a la izquierda y abajo a la derecha",
        ),
        ([[1, 1], [1, 1]], "spread over the whole picture", "repartidas por toda la imagen"),
        ([[0.2] * 7] * 5 + [[0.2] * 5 + [1, 0.8]] * 2, "at the bottom right", "abajo a la derecha"),
    ],
)
def test_heatmap_has_a_text_description(
    open_page: OpenPage, gateway: FakeGateway, picture: Any, values: list[list[float]], english: str, spanish: str
) -> None:
    gateway.explanations["pets"]["values"] = values
    page = open_page("pets")
    classify_picture(page, picture)
    press_why(page)
    description = f"Heatmap over the picture: the areas that point most to “Cat” are {english}."
    expect(page.get_by_role("img", name="Heatmap")).to_have_accessible_name(description)
    page.get_by_role("button", name="Español").click()
    description = f"Mapa de calor sobre la imagen: las zonas que más apuntan a «Gato» están {spanish}."
    expect(page.get_by_role("img", name="Mapa de calor")).to_have_accessible_name(description)
    expect(page.locator("figcaption")).to_contain_text("Cuanto más cálido es el color, más apunta esa zona a «Gato».")
    expect(page.locator(".explanation h4")).to_have_text("¿Por qué «Gato»?")
    expect(page.get_by_role("button", name="Ocultar los colores")).to_be_visible()


def test_a_message_replaces_the_heatmap_when_no_area_points_to_the_label(
    open_page: OpenPage, gateway: FakeGateway, picture: Any
) -> None:
    gateway.explanations["pets"]["values"] = [[0.0] * 7] * 7
    page = open_page("pets")
    classify_picture(page, picture)
    press_why(page)
    expect(page.locator(".explanation p")).to_have_text("No area of the picture points to “Cat”.")
    expect(page.locator("canvas")).to_have_count(0)


def test_heatmap_is_shown_alone_if_the_browser_cannot_show_the_picture(open_page: OpenPage) -> None:
    page = open_page("pets")
    classify_picture(page, {"name": "cat.webp", "mimeType": "image/webp", "buffer": b"not for browsers"})
    press_why(page)
    expect(page.locator("figure")).to_contain_text("The browser can't show this file as a picture.")
    expect(page.locator("canvas.heatmap")).to_be_visible()
    box = page.locator("canvas.heatmap").bounding_box()
    assert box and box["height"] > 100
