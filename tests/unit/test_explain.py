"""Why an answer is what it is: the part of a picture, the columns of a row."""

import io

import numpy as np
import pytest
from PIL import Image

from classify.explain import explain_pictures
from common.pictures import square_view, view_features
from flowers import as_record, draw, encode, flower_rows
from serving import ROW, validate_problem
from shapes import validate

CONTRACT = {"labels": [{"value": "cat"}, {"value": "dog"}], "features": {"image_size": 65, "centre": 0.75}}
WIDE = encode(Image.new("RGB", (200, 100)))


def test_the_part_that_speaks_for_the_answered_label_is_warm_and_what_speaks_against_it_is_not():
    heat = np.zeros((2, 3, 3, 2))
    heat[0, 0, 0, 0], heat[0, 1, 1, 0], heat[0, 2, 2, 1] = 4, 2, 9
    heat[1] = heat[0]
    cat, dog = explain_pictures([WIDE, WIDE], heat, np.array([[0.9, 0.1], [0.2, 0.8]]), CONTRACT)
    assert (cat["kind"], cat["label"], dog["label"]) == ("heatmap", "cat", "dog")
    assert cat["values"] == [[1, 0, 0], [0, 0.5, 0], [0, 0, 0]]
    assert dog["values"] == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert cat["region"] == dog["region"] == [0.125, 0.125, 0.875, 0.875]


def test_a_version_from_before_says_that_it_sees_all_of_a_picture():
    contract = {**CONTRACT, "features": {"image_size": 65}}
    [found] = explain_pictures([WIDE], np.zeros((1, 2, 2, 2)), np.array([[0.6, 0.4]]), contract)
    assert found["region"] == [0, 0, 1, 1]


@pytest.mark.parametrize("turn", [1, 6])
def test_of_a_wide_picture_the_square_in_the_middle_is_explained_and_turned_as_it_is_shown(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    file = io.BytesIO()
    Image.new("RGB", (200, 100)).save(file, "JPEG", exif=exif)
    contract = {**CONTRACT, "features": view_features(square_view(65))}
    [found] = explain_pictures([file.getvalue()], np.zeros((1, 2, 2, 2)), np.array([[0.6, 0.4]]), contract)
    assert found["region"] == pytest.approx([0.25, 0, 0.75, 1] if turn == 1 else [0, 0.25, 1, 0.75], abs=0.01)


def test_where_nothing_speaks_for_the_label_all_is_cold():
    [found] = explain_pictures([WIDE], np.zeros((1, 2, 2, 2)), np.array([[0.6, 0.4]]), CONTRACT)
    assert found["values"] == [[0, 0], [0, 0]]


def test_a_row_is_told_what_each_column_adds_to_the_answer(serving):
    answer = serving.client.post("/flowers?explain=1", json={**ROW, "petal": 90})
    validate(answer.json, "predictions")
    [only] = answer.json["predictions"]
    assert only["explanation"]["label"] == only["label"]
    effects = {one["column"]: one for one in only["explanation"]["effects"]}
    assert list(effects) == ["petal", "turn", "colour", "place"]
    # The bundle's labels are told by the first column alone.
    assert max(effects, key=lambda name: abs(effects[name]["effect"])) == "petal"
    typical = serving.client.get("/flowers").json["input"]["schema"]["properties"]["petal"]["examples"][0]
    assert (effects["petal"]["value"], effects["petal"]["typical"]) == (90, typical)
    instead = serving.client.post("/flowers", json={**ROW, "petal": typical}).json["predictions"][0]
    wanted = only["probabilities"][only["label"]] - instead["probabilities"][only["label"]]
    assert effects["petal"]["effect"] == pytest.approx(wanted, abs=3e-6)


def test_an_explained_answer_is_the_answer_itself(serving):
    rows = [as_record(row) for row in flower_rows(20, seed=2)]
    plain = serving.client.post("/flowers", json=rows).json["predictions"]
    explained = serving.client.post("/flowers?explain=1", json=rows).json["predictions"]
    for one, other in zip(plain, explained, strict=True):
        assert other.pop("explanation")["kind"] == "effects"
        assert other.pop("probabilities") == pytest.approx(one.pop("probabilities"), abs=2e-6)
        assert other.pop("confidence") == pytest.approx(one.pop("confidence"), abs=2e-6)
        assert other == one


def test_more_rows_than_are_explained_are_refused(serving):
    rows = [as_record(row) for row in flower_rows(101, seed=2)]
    body = validate_problem(serving.client.post("/flowers?explain=1", json=rows), 400, "malformed")
    assert "100 are the most" in body["detail"]


def test_a_picture_s_bundle_that_was_made_without_heat_says_so(serving):
    """The tiny bundle of the tests has none, as those made before explanations."""
    answer = serving.client.post("/pets?explain=1", data=encode(draw("cat", 1)), content_type="image/png")
    body = validate_problem(answer, 422, "unusable")
    assert (body["detail"], body["errors"]) == ("version 1 was made without explanations: train again", [])


def test_an_explanation_is_not_told_as_csv(serving):
    answer = serving.client.post("/flowers?explain=1", json=ROW, headers={"Accept": "text/csv"})
    validate_problem(answer, 400, "malformed")
