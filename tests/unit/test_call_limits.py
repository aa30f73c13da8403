"""What one call of classify may hold: rows, values, pictures, megapixels, explained rows."""

import io

import pytest
from PIL import Image

import costly_calls
from classify.inputs import read_values
from classify.slots import Slots
from common.errors import Malformed
from costly_pictures import jpeg, png
from flowers import as_record, encode, flower_rows
from serving import ROW, start, validate_problem

HEADER = "petal,turn,colour,place\n"
LINE = "11.5,90,red,sun\n"


@pytest.fixture
def limited(make_settings, serve, mlflow):
    """classify with small limits."""
    limits = {
        "SABUESO_MAX_ROWS": "30",
        "SABUESO_MAX_VALUES": "250",
        "SABUESO_MAX_EXPLAINED": "5",
        "SABUESO_MAX_PICTURES": "3",
        "SABUESO_MAX_MEGAPIXELS": "0.5",
        "SABUESO_MAX_WORK_MEGAPIXELS": "8",
    }
    return start(make_settings("flowers", "pets", MLFLOW_TRACKING_URI=serve(mlflow.app).url, **limits))


def refusal(serving, path="/flowers", status=400, kind="malformed", **request):
    return validate_problem(serving.client.post(path, **request), status, kind)["detail"]


def test_rows_are_counted_while_they_are_read(limited):
    rows = [as_record(row) for row in flower_rows(31, seed=2)]
    assert refusal(limited, json=rows).startswith("more than 30 rows; one call takes at most 30")
    body = HEADER + LINE * 31
    assert "at most 30" in refusal(limited, data=body, content_type="text/csv")
    assert limited.client.post("/flowers", data=HEADER + LINE * 30, content_type="text/csv").status_code == 200
    assert limited.client.post("/flowers", json=rows[:30]).status_code == 200


def test_the_values_of_a_csv_are_its_rows_times_its_columns(make_settings, serve, mlflow):
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url, SABUESO_MAX_VALUES="43")
    serving = start(settings)
    assert "more than 10 rows of 4 values" in refusal(serving, data=HEADER + LINE * 11, content_type="text/csv")
    assert serving.client.post("/flowers", data=HEADER + LINE * 10, content_type="text/csv").status_code == 200


@pytest.mark.parametrize("count", [200_000, 7_000_000])
def test_empty_objects_are_refused_by_their_number(serving, count):
    """Each takes 64 bytes for three."""
    body = b"[" + b"{}," * count + b"{}]"
    if count < 1_000_000:
        assert refusal(serving, data=body, content_type="application/json", status=422, kind="unusable")
    else:
        detail = refusal(serving, data=body[:19_999_999] + b"]", content_type="application/json")
        assert detail == "the JSON has 20,000,000 commas and brackets; at most 1,500,000 are allowed"


def test_a_row_of_very_many_unknown_columns_names_a_hundred(serving):
    row = {f"c{number}": 1 for number in range(100_000)}
    answer = serving.client.post("/flowers", json=row)
    errors = validate_problem(answer, 422, "unusable")["errors"]
    assert len(errors) == 100
    assert [error["field"] for error in errors[:4]] == ["petal", "turn", "colour", "place"]  # missing


def test_explained_rows_are_counted_while_they_are_read(limited):
    body = HEADER + LINE * 6
    detail = refusal(limited, "/flowers?explain=1", data=body, content_type="text/csv")
    assert detail.startswith("more than 5 rows; one call explains at most 5")
    rest = HEADER + LINE * 6 + '"' * 1001  # never read: it would be another mistake
    assert "at most 5" in refusal(limited, "/flowers?explain=1", data=rest, content_type="text/csv")


def form(*files):
    return {"data": {"image": [(io.BytesIO(file), "x.png") for file in files]}, "content_type": "multipart/form-data"}


def test_the_pixels_of_one_call_are_limited_together(limited):
    picture = png(550, 550, 2, 8)  # 4.5 megapixels of work
    assert limited.client.post("/pets", **form(picture)).status_code == 200
    detail = refusal(limited, "/pets", **form(picture, picture))
    assert detail.startswith("the 2 pictures take 9 megapixels of decoding together; one call takes at most 8")


def test_a_form_names_the_picture_that_is_too_large(limited):
    small, large = encode(Image.new("RGB", (40, 40))), png(800, 700, 2, 8)
    answer = limited.client.post("/pets", **form(small, large))
    problem = validate_problem(answer, 422, "unusable")
    assert problem["errors"] == [
        {"field": "image[1]", "detail": "the picture has 0.56 megapixels (800 x 700); a PNG may have at most 0.5"}
    ]


def test_pictures_are_checked_before_any_is_decoded(limited, monkeypatch):
    monkeypatch.setattr("common.inference.bundle.decode_picture", lambda *_: pytest.fail("decoded"))
    files = [png(40, 40, 2, 8)] * 2 + [b"no picture"]
    assert "image[2]" in refusal(limited, "/pets", status=422, kind="unusable", **form(*files))
    assert "4 pictures; one call takes at most 3" in refusal(limited, "/pets", **form(*[files[0]] * 4))


def test_a_hundred_pictures_of_one_call_pass(serving):
    files = [png(640, 480, 2, 8)] * 65
    assert len(serving.client.post("/pets", **form(*files)).json["predictions"]) == 65


def test_a_row_in_all_its_forms_still_passes(limited):
    assert limited.client.post("/flowers?explain=1", json=[ROW] * 5).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "content_type", "is_large"),
    [
        ("/flowers", HEADER + LINE * 32_000, "text/csv", True),
        ("/flowers", HEADER + LINE * 3_000, "text/csv", False),
        ("/pets", png(1500, 1400, 0, 8), "image/png", True),
        ("/pets", png(1400, 1400, 0, 8), "image/png", False),
        ("/pets", jpeg(1500, 1400, progressive=True), "image/jpeg", True),
        ("/pets", jpeg(8000, 6000), "image/jpeg", False),
    ],
    ids=["many-rows", "rows", "large-png", "png", "progressive", "photograph"],
)
def test_large_inputs_wait_for_each_other(make_settings, serve, mlflow, path, body, content_type, is_large):
    settings = make_settings("flowers", "pets", MLFLOW_TRACKING_URI=serve(mlflow.app).url, SABUESO_QUEUE_S="0.05")
    serving = start(settings)
    with Slots(0, settings.scratch).compute("image", is_large=True):  # another worker's
        answer = serving.client.post(path, data=body, content_type=content_type)
    assert answer.status_code == (503 if is_large else 200), answer.text[:300]
    assert serving.client.post(path, data=body, content_type=content_type).status_code == 200


def test_uploads_are_kept_in_memory_once(serving, monkeypatch):
    """The scratch folder may be memory too."""
    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", lambda *_, **__: pytest.fail("a temporary file"))
    large = encode(Image.new("RGB", (700, 700)), "BMP")
    assert len(large) > 1_000_000
    call = costly_calls.form([large], 200)
    assert serving.client.post("/pets", data=call.body, content_type=call.content_type).status_code == 200


def test_explanations_cost_the_square_of_the_columns(make_settings, serve, mlflow):
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url, SABUESO_MAX_VALUES="43")
    serving = start(settings)
    assert "one call explains at most 2" in refusal(serving, "/flowers?explain=1", json=[ROW] * 3)
    assert serving.client.post("/flowers?explain=1", json=[ROW] * 2).status_code == 200


def test_many_labels_count_like_many_columns(serving, make_settings):
    """A row is answered with a probability of each."""
    contract = serving.champions.get("flowers").bundle.contract
    many = contract.model_copy(update={"labels": contract.labels * 7})
    settings = make_settings("flowers", SABUESO_MAX_VALUES="63")
    body = (HEADER + LINE * 4).encode()
    with pytest.raises(Malformed, match="more than 3 rows of 21 values"):
        read_values("text/csv", body, many, settings)
    assert len(read_values("text/csv", body, contract, settings)) == 4
