"""Bad input gets a problem document that names the mistake; nothing stays behind and the next request works."""

import io
import json

import pytest

from flowers import draw, encode
from serving import ROW, validate_problem

CAT = encode(draw("cat", 1))


@pytest.fixture
def replica(serving):
    """A replica that must still answer after the test, with an unchanged scratch folder."""
    before = serving.scratch_files()
    yield serving
    assert serving.predict() == ("small", "1")
    assert serving.client.post("/pets", data=CAT, content_type="image/png").json["predictions"][0]["label"] == "cat"
    assert serving.scratch_files() == before


def send(serving, path, **request):
    return serving.client.post(path, **request)


def fields(body):
    return [(error["field"], error["detail"]) for error in body["errors"]]


@pytest.mark.parametrize(
    ("change", "field", "detail"),
    [
        ({"petal": "high"}, "petal", "must be a number, not 'high'"),
        ({"petal": None}, "petal", "must be a number"),
        ({"petal": True}, "petal", "must be a number"),
        ({"petal": 101}, "petal", "101 is outside 0..100"),
        ({"petal": "nan"}, "petal", "must be a finite number"),
        ({"place": "moon"}, "place", "'moon' is not one of: sun, shade"),
        ({"colour": ["red"]}, "colour", "must be a text"),
        ({"colour": ""}, "colour", "must be a text of 1 to 200 characters"),
        ({"weight": 3}, "weight", "is not a column of this pipeline"),
        ({"species": "small"}, "species", "is not a column of this pipeline"),
    ],
)
def test_a_wrong_value_is_422_and_names_the_field(replica, change, field, detail):
    body = validate_problem(send(replica, "/flowers", json={**ROW, **change}), 422, "unusable")
    assert fields(body) == [(field, detail)]
    assert field in body["detail"]


@pytest.mark.parametrize("column", ROW)
def test_a_missing_column_is_422_and_names_it(replica, column):
    row = {key: value for key, value in ROW.items() if key != column}
    assert fields(validate_problem(send(replica, "/flowers", json=row), 422, "unusable")) == [(column, "missing")]


def test_every_mistake_of_every_row_is_named_with_its_row(replica):
    rows = [ROW, {**ROW, "petal": "high", "place": "moon"}, "text", {**ROW, "turn": "east"}]
    body = validate_problem(send(replica, "/flowers", json=rows), 422, "unusable")
    assert [field for field, _ in fields(body)] == ["rows[1].petal", "rows[1].place", "rows[2]", "rows[3].turn"]


def test_many_mistakes_give_a_bounded_answer(replica):
    body = validate_problem(send(replica, "/flowers", json=[{**ROW, "petal": "high"}] * 5000), 422, "unusable")
    assert len(body["errors"]) == 100
    assert len(json.dumps(body)) < 20_000


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"7", b'"text"', b'{"petal": NaN}', b'{"petal": Infinity}', b"\xff", b"[" * 100_000],
    ids=["empty", "cut", "no-rows", "null", "number", "text", "nan", "infinity", "bytes", "deep"],
)
def test_a_body_that_is_no_row_is_400(replica, data):
    validate_problem(send(replica, "/flowers", data=data, content_type="application/json"), 400, "malformed")


def test_a_number_beyond_floating_point_is_422(replica):
    data = json.dumps(ROW).replace("11.5", "1e999")
    body = validate_problem(send(replica, "/flowers", data=data, content_type="application/json"), 422, "unusable")
    assert fields(body) == [("petal", "must be a finite number")]


@pytest.mark.parametrize(
    ("data", "status", "kind", "expected"),
    [
        (b"", 422, "unusable", ["petal", "turn", "colour", "place"]),
        (b"petal,turn,colour\n1,2,red\n", 422, "unusable", ["place"]),
        (b"petal,turn,colour,place\n", 400, "malformed", []),
        (b"petal,turn,colour,place\n1,2,red,sun\n1,2,red\n", 422, "unusable", ["rows[1].place"]),
        (b"\xff\xfe", 400, "malformed", []),
    ],
    ids=["empty", "missing-column", "no-rows", "short-row", "encoding"],
)
def test_a_wrong_csv_is_refused(replica, data, status, kind, expected):
    body = validate_problem(send(replica, "/flowers", data=data, content_type="text/csv"), status, kind)
    assert [field for field, _ in fields(body)] == expected


def test_a_call_without_a_picture_is_400(replica):
    for request in (
        {},
        {"data": b"", "content_type": "image/jpeg"},
        {"data": {}, "content_type": "multipart/form-data"},
        {"data": {"image": (io.BytesIO(b""), "cat.jpg")}, "content_type": "multipart/form-data"},
        {"data": {"file": (io.BytesIO(CAT), "cat.png")}, "content_type": "multipart/form-data"},
    ):
        body = validate_problem(send(replica, "/pets", **request), 400, "malformed")
        assert fields(body) == [("image", "missing")]


def test_a_call_without_a_row_is_400(replica):
    validate_problem(send(replica, "/flowers"), 400, "malformed")


@pytest.mark.parametrize("content", [b"just a text\n", CAT[:-40], b"\x00" * 1000, CAT[:8]])
def test_a_file_that_is_no_picture_is_422(replica, content):
    raw = send(replica, "/pets", data=content, content_type="image/jpeg")
    form = send(replica, "/pets", data={"image": (io.BytesIO(content), "cat.jpg")}, content_type="multipart/form-data")
    for answer in (raw, form):
        [(field, detail)] = fields(validate_problem(answer, 422, "unusable"))
        assert field == "image"
        assert detail.startswith("can't be read as a picture")


def test_the_wrong_one_of_several_pictures_is_named(replica):
    files = [(io.BytesIO(body), "x.png") for body in (CAT, b"a text", CAT)]
    body = validate_problem(
        send(replica, "/pets", data={"image": files}, content_type="multipart/form-data"), 422, "unusable"
    )
    assert [field for field, _ in fields(body)] == ["image[1]"]


def test_too_many_pictures_in_one_call_are_refused(replica):
    files = [(io.BytesIO(b"x"), "x.png") for _ in range(101)]
    answer = send(replica, "/pets", data={"image": files}, content_type="multipart/form-data")
    assert "one call takes at most 100" in validate_problem(answer, 400, "malformed")["detail"]


@pytest.mark.parametrize("path", ["/pets", "/flowers"])
@pytest.mark.parametrize("content_type", ["image/jpeg", "application/json", "text/csv", "text/plain"])
def test_a_body_of_fifty_megabytes_is_413(replica, path, content_type):
    answer = send(replica, path, data=b"x" * 50_000_000, content_type=content_type)
    assert "20" in validate_problem(answer, 413, "too-large")["detail"]


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/pets", "text/plain"), ("/pets", "application/json"), ("/flowers", "image/png"), ("/flowers", "text/html")],
)
def test_another_content_type_is_415_naming_the_supported_ones(replica, path, content_type):
    body = validate_problem(send(replica, path, data=b"something", content_type=content_type), 415, "wrong-type")
    assert content_type in body["detail"]
    assert ("image/jpeg" if path == "/pets" else "text/csv") in body["detail"]


def test_an_unknown_parameter_is_refused(replica):
    body = validate_problem(send(replica, "/flowers?explian=1", json=ROW), 400, "malformed")
    assert "explian" in body["detail"]
