"""Every run leaves a record that only its own writer changes."""

import json
import re

import pytest

from common.errors import Conflict, StoreUnavailable
from common.executions import begin, history, note, resume, timestamp
from common.objects import FolderObjects


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


class Losing(FolderObjects):
    """Writes get through, but for `lost` of them the answer does not."""

    lost = 0

    def put(self, key, body, **condition):
        etag = super().put(key, body, **condition)
        if self.lost:
            self.lost -= 1
            raise StoreUnavailable(self.where, "it was stopped")
        return etag


@pytest.mark.parametrize("lost", [1, 2])
def test_a_record_whose_answer_was_lost_is_still_ones_own(tmp_path, lost):
    store = Losing(tmp_path / "store")
    record = begin(store, "p", "train", {"stage": "one"})
    for number in range(lost):
        store.lost = 1
        with pytest.raises(StoreUnavailable):
            record.update(stage=f"lost {number}")
    record.update(stage="two")
    record.end("finished")
    assert resume(store, record.key).body["stage"] == "two"


def test_a_record_that_another_closed_is_not_taken_back(tmp_path):
    store = Losing(tmp_path / "store")
    record = begin(store, "p", "train", {"stage": "one"})
    store.lost = 1
    with pytest.raises(StoreUnavailable):
        record.update(stage="lost")
    resume(store, record.key).end("interrupted")
    with pytest.raises(Conflict):
        record.update(stage="two")


def test_a_note_is_written_once_however_often_it_is_asked_for(tmp_path):
    store = Losing(tmp_path / "store")
    write = note("p", "alias", {"version": "2"})
    store.lost = 1
    with pytest.raises(StoreUnavailable):
        write(store)
    write(store)
    write(store)
    found = history(store, "p", "alias")
    assert [(one.body["version"], one.body["state"]) for one in found] == [("2", "finished")]
