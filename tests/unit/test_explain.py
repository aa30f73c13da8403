"""Explanations: a heatmap of a picture, the effect of each column of a row."""

import io

import numpy as np
import pytest
from PIL import Image

from classify.explain import explain_pictures
from common.inference.contract import PictureFeatures
from common.inference.pictures import square_view, view_features
from contracts import make_contract
from flowers import as_record, draw, encode, flower_rows
from serving import ROW, validate_problem
from shapes import validate

CONTRACT = make_contract()
WIDE = encode(Image.new("RGB", (200, 100)))


def test_only_parts_that_speak_for_the_predicted_label_are_warm():
    heat = np.zeros((2, 3, 3, 2))
    heat[0, 0, 0, 0], heat[0, 1, 1, 0], heat[0, 2, 2, 1] = 4, 2, 9
    heat[1] = heat[0]
    cat, dog = explain_pictures([WIDE, WIDE], heat, np.array([[0.9, 0.1], [0.2, 0.8]]), CONTRACT)
    assert (cat["kind"], cat["label"], dog["label"]) == ("heatmap", "cat", "dog")
    assert cat["values"] == [[1, 0, 0], [0, 0.5, 0], [0, 0, 0]]
    assert dog["values"] == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert cat["region"] == dog["region"] == [0.125, 0.125, 0.875, 0.875]


def test_a_contract_without_a_centre_means_that_the_whole_picture_is_seen():
    contract = make_contract(features=PictureFeatures(image_size=65))
    [explanation] = explain_pictures([WIDE], np.zeros((1, 2, 2, 2)), np.array([[0.6, 0.4]]), contract)
    assert explanation["region"] == [0, 0, 1, 1]


@pytest.mark.parametrize("turn", [1, 6])
def test_the_region_of_a_wide_picture_is_its_middle_square_after_rotation(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    file = io.BytesIO()
    Image.new("RGB", (200, 100)).save(file, "JPEG", exif=exif)
    contract = make_contract(features=view_features(square_view(65)))
    [explanation] = explain_pictures([file.getvalue()], np.zeros((1, 2, 2, 2)), np.array([[0.6, 0.4]]), contract)
    assert explanation["region"] == pytest.approx([0.25, 0, 0.75, 1] if turn == 1 else [0, 0.25, 1, 0.75], abs=0.01)


def test_a_picture_without_evidence_is_cold_everywhere():
    [explanation] = explain_pictures([WIDE], np.zeros((1, 2, 2, 2)), np.array([[0.6, 0.4]]), CONTRACT)
    assert explanation["values"] == [[0, 0], [0, 0]]


def test_each_column_of_a_row_has_its_effect(serving):
    answer = serving.client.post("/flowers?explain=1", json={**ROW, "petal": 90})
    validate(answer.json, "predictions")
    [only] = answer.json["predictions"]
    assert only["explanation"]["label"] == only["label"]
    effects = {one["column"]: one for one in only["explanation"]["effects"]}
    assert list(effects) == ["petal", "turn", "colour", "place"]
    # Only the first column matters to this bundle.
    assert max(effects, key=lambda name: abs(effects[name]["effect"])) == "petal"
    typical = serving.client.get("/flowers").json["input"]["schema"]["properties"]["petal"]["examples"][0]
    assert (effects["petal"]["value"], effects["petal"]["typical"]) == (90, typical)
    replaced = serving.client.post("/flowers", json={**ROW, "petal": typical}).json["predictions"][0]
    expected = only["probabilities"][only["label"]] - replaced["probabilities"][only["label"]]
    assert effects["petal"]["effect"] == pytest.approx(expected, abs=3e-6)


def test_an_explanation_does_not_change_the_prediction(serving):
    rows = [as_record(row) for row in flower_rows(20, seed=2)]
    plain = serving.client.post("/flowers", json=rows).json["predictions"]
    explained = serving.client.post("/flowers?explain=1", json=rows).json["predictions"]
    for one, other in zip(plain, explained, strict=True):
        assert other.pop("explanation")["kind"] == "effects"
        assert other.pop("probabilities") == pytest.approx(one.pop("probabilities"), abs=2e-6)
        assert other.pop("confidence") == pytest.approx(one.pop("confidence"), abs=2e-6)
        assert other == one


def test_too_many_rows_to_explain_are_refused(serving):
    rows = [as_record(row) for row in flower_rows(101, seed=2)]
    body = validate_problem(serving.client.post("/flowers?explain=1", json=rows), 400, "malformed")
    assert "one call explains at most 100" in body["detail"]


def test_a_picture_version_without_heat_has_no_explanations(serving):
    """The tiny test bundle has no heat output, like versions trained before explanations existed."""
    answer = serving.client.post("/pets?explain=1", data=encode(draw("cat", 1)), content_type="image/png")
    body = validate_problem(answer, 422, "unusable")
    assert (body["detail"], body["errors"]) == ("version 1 has no explanations: train a new version", [])


def test_explanations_have_no_csv_form(serving):
    answer = serving.client.post("/flowers?explain=1", json=ROW, headers={"Accept": "text/csv"})
    validate_problem(answer, 400, "malformed")
