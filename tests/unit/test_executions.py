"""Every run leaves a record that only its own process changes."""

import re

import pytest

from common.errors import Conflict, StoreUnavailable
from common.storage.executions import begin, history, load, newest, write_once
from common.storage.folder import FolderStore
from common.storage.training_record import TrainingRecord
from common.timestamps import timestamp
from fetch_batch.record import FetchRecord
from train.gate.champion import AliasMove, moves, new_move


def test_a_record_shows_progress_and_end(store):
    execution = begin(store, "flowers", TrainingRecord.new())
    execution.update(progress=0.5)
    record = newest(store, "flowers", TrainingRecord).record
    assert (record.state, record.progress, record.ended) == ("running", 0.5, None)
    execution.end("finished", decision="kept")
    record = newest(store, "flowers", TrainingRecord).record
    assert (record.state, record.decision) == ("finished", "kept")
    assert record.started <= record.ended


def test_a_field_that_a_record_does_not_have_is_refused(store):
    execution = begin(store, "flowers", TrainingRecord.new())
    with pytest.raises(TypeError, match="progres"):
        execution.update(progres=0.5)


def test_a_record_that_another_process_ended_is_not_rewritten(store):
    execution = begin(store, "flowers", TrainingRecord.new())
    load(store, execution.key, TrainingRecord).end("interrupted")
    with pytest.raises(Conflict):
        execution.end("finished")
    assert newest(store, "flowers", TrainingRecord).record.state == "interrupted"


def test_the_history_is_newest_first_and_bounded(store):
    for number in range(25):
        started = f"2026-01-01T00:00:{number:02}.000Z"
        write_once(store, "flowers", TrainingRecord.new(id=f"train-{number}", state="finished", started=started))
    assert [execution.record.id for execution in history(store, "flowers", TrainingRecord)] == [
        f"train-{number}" for number in range(24, 4, -1)
    ]


def test_functions_have_separate_histories_even_if_a_pipeline_is_named_like_a_function(store):
    records = (FetchRecord.new(lease="nonce"), TrainingRecord.new(), new_move("2", "1", "better", "gate"))
    for record in records:
        begin(store, "my-train-set", record)
    for record in records:
        assert [found.record for found in history(store, "my-train-set", type(record))] == [record]


def test_pipelines_have_separate_histories(store):
    begin(store, "flowers", TrainingRecord.new())
    assert history(store, "flower", TrainingRecord) == []


def test_times_are_utc_and_sort_as_text():
    first, second = timestamp(), timestamp()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first)
    assert first <= second


class LosingAnswers(FolderStore):
    """Every write succeeds, but the next `lost` writes raise as if their answer was lost."""

    lost = 0

    def put(self, key, body, **condition):
        etag = super().put(key, body, **condition)
        if self.lost:
            self.lost -= 1
            raise StoreUnavailable(self.where, "it was stopped")
        return etag


@pytest.mark.parametrize("lost", [1, 2])
def test_a_record_can_still_be_updated_after_lost_answers(tmp_path, lost):
    store = LosingAnswers(tmp_path / "store")
    execution = begin(store, "p", TrainingRecord.new(stage="one"))
    for number in range(lost):
        store.lost = 1
        with pytest.raises(StoreUnavailable):
            execution.update(stage=f"lost {number}")
    execution.update(stage="two")
    execution.end("finished")
    assert load(store, execution.key, TrainingRecord).record.stage == "two"


def test_a_record_closed_by_another_process_stays_closed_after_a_lost_answer(tmp_path):
    store = LosingAnswers(tmp_path / "store")
    execution = begin(store, "p", TrainingRecord.new(stage="one"))
    store.lost = 1
    with pytest.raises(StoreUnavailable):
        execution.update(stage="lost")
    load(store, execution.key, TrainingRecord).end("interrupted")
    with pytest.raises(Conflict):
        execution.update(stage="two")


def test_a_complete_record_is_written_once_however_often_it_is_retried(tmp_path):
    store = LosingAnswers(tmp_path / "store")
    move = new_move("2", "1", "better", "gate")
    store.lost = 1
    with pytest.raises(StoreUnavailable):
        write_once(store, "p", move)
    write_once(store, "p", move)
    write_once(store, "p", move)
    assert moves(store, "p") == [move]
    assert [execution.record.state for execution in history(store, "p", AliasMove)] == ["finished"]
