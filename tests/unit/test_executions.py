"""Every run leaves a record that only its own writer changes."""

import json
import re

import pytest

from common.errors import Conflict
from common.executions import begin, history, resume, timestamp


def test_a_record_tells_how_its_execution_goes_and_ends(store):
    record = begin(store, "flowers", "train", {"progress": 0.0})
    record.update(progress=0.5)
    shown = history(store, "flowers", "train")[0].body
    assert (shown["state"], shown["progress"], shown["ended"]) == ("running", 0.5, None)
    record.end("finished", decision="kept")
    shown = history(store, "flowers", "train")[0].body
    assert (shown["state"], shown["decision"]) == ("finished", "kept")
    assert shown["started"] <= shown["ended"]


def test_a_record_ended_by_another_is_not_rewritten(store):
    record = begin(store, "flowers", "train", {})
    resume(store, record.key).end("interrupted")
    with pytest.raises(Conflict):
        record.end("finished")
    assert history(store, "flowers", "train")[0].body["state"] == "interrupted"


def test_the_history_is_newest_first_and_bounded(store):
    for number in range(25):
        body = {"id": f"train-{number}", "state": "finished"}
        store.put(f"jobs/flowers/runs/2026-01-01T0000{number:02}.000Z-train-{number}.json", json.dumps(body).encode())
    assert [record.body["id"] for record in history(store, "flowers", "train")] == [
        f"train-{number}" for number in range(24, 4, -1)
    ]


def test_functions_keep_their_histories_apart_even_if_a_pipeline_is_named_like_one(store):
    for function in ("fetch-batch", "train", "alias"):
        begin(store, "my-train-set", function, {})
    for function in ("fetch-batch", "train", "alias"):
        assert [record.body["function"] for record in history(store, "my-train-set", function)] == [function]


def test_pipelines_keep_their_histories_apart(store):
    begin(store, "flowers", "train", {})
    assert history(store, "flower", "train") == []


def test_times_are_utc_and_sort_as_texts():
    first, second = timestamp(), timestamp()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first)
    assert first <= second
