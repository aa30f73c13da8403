"""Many rows in one call: each is answered as it is alone, in parts, and no answer is sent before every row was read."""

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
def test_each_is_answered_as_it_is_alone_and_they_are_sent_as_they_are_made(serving: Any, accept: str) -> None:
    given = {"data": csv_of(MANY), "content_type": "text/csv", "headers": {"Accept": accept}}
    with serving.client.post("/flowers", buffered=False, **given) as answer:
        assert (answer.status_code, answer.content_length) == (200, None)
        parts = list(answer.iter_encoded())
    assert len(parts) > 9000 / 512
    text = b"".join(parts).decode()
    if accept == "text/csv":
        found = list(csv.DictReader(io.StringIO(text)))
    else:
        validate(json.loads(text), "predictions")
        assert json.loads(text)["request_id"] == answer.headers["X-Request-Id"]
        found = json.loads(text)["predictions"]
    assert len(found) == 9000
    for place in (0, 1, 2047, 2048, 4095, 4096, 8999):
        alone = serving.client.post("/flowers", json=MANY[place]).json["predictions"][0]
        assert (found[place]["label"], found[place]["status"]) == (alone["label"], alone["status"])
        assert float(found[place]["confidence"]) == pytest.approx(alone["confidence"], abs=2e-6)


@pytest.mark.parametrize("content_type", ["text/csv", "application/json"])
def test_every_mistake_is_named_before_any_answer_is_sent(serving: Any, content_type: str) -> None:
    rows = [dict(row) for row in MANY]
    rows[17]["petal"], rows[8999]["place"] = "high", "moon"
    body = csv_of(rows) if content_type == "text/csv" else json.dumps(rows)
    answer = serving.client.post("/flowers", data=body, content_type=content_type)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == ["rows[17].petal", "rows[8999].place"]


def test_unusual_numbers_are_read_as_they_are_alone(serving: Any) -> None:
    """A text, a whole number, a number as category, more digits than a float has."""
    unusual = [{**ROW, "petal": " 11.5 "}, {**ROW, "petal": 11}, {**ROW, "colour": 7}, {**ROW, "turn": 10**15}]
    found = serving.client.post("/flowers", json=[*unusual, *MANY[:2]] * 30)
    assert found.status_code == 200, found.text
    for place, row in enumerate([*unusual, *MANY[:2]]):
        alone = serving.client.post("/flowers", json=row)
        assert alone.status_code == 200, alone.text
        wanted = alone.json["predictions"][0]["probabilities"]
        assert found.json["predictions"][place]["probabilities"] == pytest.approx(wanted, abs=2e-6)
