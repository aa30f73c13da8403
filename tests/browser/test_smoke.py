"""The main path: the list of pipelines, a picture, a row. The other files cover the details."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.fake_gateway import FakeGateway
from browser.steps import OpenPage

pytestmark = pytest.mark.browser


def test_pipelines_are_listed_and_the_first_is_shown(open_page: OpenPage) -> None:
    page = open_page()
    links = page.locator("#pipelines a")
    expect(links).to_have_text(
        [
            "Cats and dogspicture · version 3",
            "Forest covertable row · version 12",
            "Mushroomstable row · no model yet",
        ]
    )
    expect(links.first).to_have_attribute("aria-current", "page")
    expect(page).to_have_title("Cats and dogs · Sabueso")
    expect(page).to_have_url(re.compile("#pets$"))


def test_picture_is_classified(open_page: OpenPage, gateway: FakeGateway, picture: Any) -> None:
    page = open_page("pets")
    expect(page.locator("#picture")).to_have_attribute("accept", "image/*")
    page.set_input_files("#picture", picture)
    preview = page.get_by_alt_text("Chosen picture: cat.png")
    expect(preview).to_be_visible()
    assert preview.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 48
    assert gateway.received == []
    page.get_by_role("button", name="Classify").click()
    answer = page.locator("[aria-live=polite]")
    expect(answer.get_by_role("heading", name="Cat")).to_be_visible()
    expect(answer.locator(".status")).to_have_text("Sure")
    expect(answer.locator(".confidence")).to_have_text("98.1% confidence")
    expect(answer.locator(".status-meaning")).to_contain_text("reaches the threshold")
    expect(answer.locator(".answer-source")).to_have_text("pets, version 3request r-7f3a")
    [sent] = gateway.received
    assert (sent.pipeline, sent.content_type, sent.body) == ("pets", "image/png", picture["buffer"])


def test_form_is_built_from_the_model_card(open_page: OpenPage, gateway: FakeGateway) -> None:
    page = open_page("covertype")
    expect(page.locator(".field label")).to_have_text(
        [
            "Elevation (m)",
            "Aspect (°)",
            "Slope (°)",
            "Vertical distance to water (m)",
            "Distance to fire points (m)",
            "Wilderness area",
            "Soil type",
        ]
    )
    elevation = page.get_by_label("Elevation")
    for name, value in {"type": "number", "min": "0", "max": "5000", "step": "any", "required": ""}.items():
        expect(elevation).to_have_attribute(name, value)
    expect(page.get_by_label("Distance to fire points")).not_to_have_attribute("required", "")
    expect(page.get_by_label("Wilderness area").locator("option")).to_have_text(
        ["Choose…", "Rawah", "Neota", "Commanche", "Cache"]
    )
    soil = page.get_by_label("Soil type")
    known = page.locator(f"#{soil.get_attribute('list')} option")
    assert known.evaluate_all("(options) => options.map((option) => option.value)") == ["C7745", "C4758", "C7756"]
    soil.fill("C0000")
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("h3")).to_have_text("Lodgepole pine")
    [sent] = gateway.received
    assert sent.content_type == "application/json"
    assert json.loads(sent.body) == {
        "Elevation": 2596,
        "Aspect": 51,
        "Slope": 3,
        "Hydrology": -6,
        "Wilderness_Area": "Rawah",
        "Soil_Type": "C0000",
    }
