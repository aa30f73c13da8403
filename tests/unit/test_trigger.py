"""When train is called: decided at every tick from what is stored."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask import request as flask_request

from common.logging import CALL_ID
from common.pipeline_files import read_pipelines
from common.storage.training_record import TrainingRecord
from fetch_batch.trigger import call_train, reason_to_train

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RESUMED = "is resumed"


@pytest.fixture
def flowers(make_settings):
    """Its trigger needs 50 new examples."""
    return read_pipelines(make_settings("flowers").pipelines)["flowers"]


@pytest.fixture
def decide(flowers):
    defaults = {"examples": 100, "complete": False, "attempts": [], "busy": False, "now": NOW}
    return lambda **facts: reason_to_train(flowers, **{**defaults, **facts})


def attempt(state, examples=100, minutes_ago=5, **facts):
    when = (NOW - timedelta(minutes=minutes_ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    ended = None if state == "running" else when
    return TrainingRecord.new(state=state, examples=examples, started=when, ended=ended, **facts)


def test_enough_examples_start_the_first_training(decide):
    assert decide(examples=49) is None
    assert decide(examples=50) == "50 examples and no version yet"


def test_a_complete_collection_needs_fewer_examples(decide):
    assert decide(examples=30, complete=True) == "30 examples and no version yet"


@pytest.mark.parametrize("complete", [True, False])
def test_too_few_examples_start_no_training(decide, complete):
    assert decide(examples=19, complete=complete) is None
    assert decide(examples=0, complete=complete) is None


def test_no_second_training_while_one_runs(decide):
    assert decide(busy=True, attempts=[attempt("running")]) is None


def test_only_new_examples_count_after_a_training(decide):
    attempts = [attempt("finished", 100)]
    assert decide(attempts=attempts) is None
    assert decide(attempts=attempts, examples=149) is None
    assert decide(attempts=attempts, examples=150) == "50 new examples"


def test_a_completed_collection_is_trained_whole_and_once(decide):
    assert decide(attempts=[attempt("finished", 100)], examples=101, complete=True) == "1 new examples"
    assert decide(attempts=[attempt("finished", 101)], examples=101, complete=True) is None


@pytest.mark.parametrize(("trained_on", "received"), [(60, 100), (140, 100)])
def test_a_changed_pipeline_file_makes_no_new_examples(decide, trained_on, received):
    last = attempt("finished", trained_on, received=received)
    assert decide(attempts=[last], examples=100, complete=True) is None
    assert decide(attempts=[last], examples=150) == "50 new examples"


@pytest.mark.parametrize("state", ["failed", "out-of-memory"])
def test_a_failed_training_waits_an_hour(decide, state):
    assert decide(attempts=[attempt(state, minutes_ago=59)], examples=500) is None
    assert "over an hour ago" in decide(attempts=[attempt(state, minutes_ago=61)])


@pytest.mark.parametrize("state", ["interrupted", "running"])
def test_a_training_whose_process_died_is_resumed_at_once(decide, state):
    assert RESUMED in decide(attempts=[attempt(state, minutes_ago=0)])


def test_a_training_interrupted_three_times_waits_an_hour(decide):
    interrupted = [attempt("interrupted")] * 3
    assert RESUMED in decide(attempts=interrupted[:2])
    assert RESUMED in decide(attempts=[*interrupted[:2], attempt("finished"), interrupted[0]])
    assert decide(attempts=interrupted) is None
    assert RESUMED in decide(attempts=[attempt("interrupted", minutes_ago=61), *interrupted])


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("examples", [0, 100])
def test_a_cancelled_training_does_not_restart_by_itself(decide, examples, complete):
    assert decide(attempts=[attempt("cancelled", examples)], complete=complete) is None


def test_new_examples_restart_a_cancelled_training(decide):
    assert decide(attempts=[attempt("cancelled", 100)], examples=150) == "50 new examples"


def test_the_pipeline_file_sets_how_many_new_examples_are_needed(flowers):
    trigger = flowers.trigger.model_copy(update={"new_examples": 101})
    pipeline = flowers.model_copy(update={"trigger": trigger})
    assert reason_to_train(pipeline, 100, False, [], False, NOW) is None


def test_an_unreachable_gateway_is_reported(make_settings):
    assert call_train("flowers", make_settings("flowers")) == "train is not reachable: ConnectionError"


def test_train_is_called_with_the_call_id_of_the_fetch(make_settings, serve, request):
    gateway, calls = Flask("gateway"), []

    @gateway.post("/function/train/flowers")
    def train():
        calls.append((flask_request.headers.get("X-Call-Id"), flask_request.headers["Authorization"]))
        return {}, 202

    settings = make_settings("flowers", OPENFAAS_URL=serve(gateway).url)
    assert call_train("flowers", settings) == "train answered 202"
    token = CALL_ID.set("call-9")
    request.addfinalizer(lambda: CALL_ID.reset(token))
    call_train("flowers", settings)
    assert calls == [(None, "Bearer the-train-token"), ("call-9", "Bearer the-train-token")]
