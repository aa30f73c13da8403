"""Many rows in one call: answered block by block, like single rows, after every row was read."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from flowers import as_record, flower_rows
from serving import ROW
from shapes import validate

MANY = [{name: as_record(row)[name] for name in ROW} for row in flower_rows(9000, seed=4)]


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@pytest.mark.parametrize("accept", ["text/csv", "application/json"])
def test_each_row_is_answered_like_a_single_row_and_the_answer_is_streamed(serving: Any, accept: str) -> None:
    given = {"data": csv_of(MANY), "content_type": "text/csv", "headers": {"Accept": accept}}
    with serving.client.post("/flowers", buffered=False, **given) as answer:
        assert (answer.status_code, answer.content_length) == (200, None)
        chunks = list(answer.iter_encoded())
    assert len(chunks) > 9000 / 512
    text = b"".join(chunks).decode()
    if accept == "text/csv":
        predictions = list(csv.DictReader(io.StringIO(text)))
    else:
        validate(json.loads(text), "predictions")
        assert json.loads(text)["request_id"] == answer.headers["X-Request-Id"]
        predictions = json.loads(text)["predictions"]
    assert len(predictions) == 9000
    for place in (0, 1, 2047, 2048, 4095, 4096, 8999):
        alone = serving.client.post("/flowers", json=MANY[place]).json["predictions"][0]
        assert (predictions[place]["label"], predictions[place]["status"]) == (alone["label"], alone["status"])
        assert float(predictions[place]["confidence"]) == pytest.approx(alone["confidence"], abs=2e-6)


@pytest.mark.parametrize("content_type", ["text/csv", "application/json"])
def test_every_mistake_is_reported_before_any_prediction_is_sent(serving: Any, content_type: str) -> None:
    rows = [dict(row) for row in MANY]
    rows[17]["petal"], rows[8999]["place"] = "high", "moon"
    body = csv_of(rows) if content_type == "text/csv" else json.dumps(rows)
    answer = serving.client.post("/flowers", data=body, content_type=content_type)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == ["rows[17].petal", "rows[8999].place"]


def test_unusual_values_are_read_like_those_of_a_single_row(serving: Any) -> None:
    """A number as text, a whole number, a number as category, a large whole number."""
    unusual = [{**ROW, "petal": " 11.5 "}, {**ROW, "petal": 11}, {**ROW, "colour": 7}, {**ROW, "turn": 10**15}]
    answer = serving.client.post("/flowers", json=[*unusual, *MANY[:2]] * 30)
    assert answer.status_code == 200, answer.text
    for place, row in enumerate([*unusual, *MANY[:2]]):
        alone = serving.client.post("/flowers", json=row)
        assert alone.status_code == 200, alone.text
        expected = alone.json["predictions"][0]["probabilities"]
        assert answer.json["predictions"][place]["probabilities"] == pytest.approx(expected, abs=2e-6)
