"""When train is asked: decided from what is stored, at every tick."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask import request as flask_request

from common.log import CALL_ID
from common.pipelines import read_pipelines
from fetch_batch.trigger import ask_train, reason_to_train

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def decide(make_settings):
    """flowers asks for 50 new examples."""
    pipeline = read_pipelines(make_settings("flowers").pipelines)["flowers"]
    defaults = {"examples": 100, "complete": False, "attempts": [], "busy": False, "now": NOW}
    return lambda **facts: reason_to_train(pipeline, **{**defaults, **facts})


def attempt(state, examples=100, minutes_ago=5):
    when = (NOW - timedelta(minutes=minutes_ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"state": state, "examples": examples, "started": when, "ended": None if state == "running" else when}


def test_enough_examples_are_a_reason(decide):
    assert decide(examples=49) is None
    assert decide(examples=50) == "50 examples and no version yet"


def test_a_complete_collection_is_a_reason_even_with_fewer(decide):
    assert decide(examples=30, complete=True) == "30 examples and no version yet"


@pytest.mark.parametrize("complete", [True, False])
def test_too_few_to_learn_from_are_none(decide, complete):
    assert decide(examples=19, complete=complete) is None
    assert decide(examples=0, complete=complete) is None


def test_while_one_runs_no_other_is_asked(decide):
    assert decide(busy=True, attempts=[attempt("running")]) is None


def test_after_a_training_only_new_examples_count(decide):
    attempts = [attempt("finished", 100)]
    assert decide(attempts=attempts) is None
    assert decide(attempts=attempts, examples=149) is None
    assert decide(attempts=attempts, examples=150) == "50 new examples"


def test_a_completed_collection_is_trained_on_whole_and_once(decide):
    assert decide(attempts=[attempt("finished", 100)], examples=101, complete=True) == "1 new examples"
    assert decide(attempts=[attempt("finished", 101)], examples=101, complete=True) is None


@pytest.mark.parametrize(("trained_on", "received"), [(60, 100), (140, 100)])
def test_examples_that_the_pipeline_file_leaves_out_or_lets_in_by_now_are_not_new(decide, trained_on, received):
    last = {**attempt("finished", trained_on), "received": received}
    assert decide(attempts=[last], examples=100, complete=True) is None
    assert decide(attempts=[last], examples=150) == "50 new examples"


@pytest.mark.parametrize("state", ["failed", "out-of-memory"])
def test_a_failed_training_waits_an_hour(decide, state):
    assert decide(attempts=[attempt(state, minutes_ago=59)], examples=500) is None
    assert "over an hour ago" in decide(attempts=[attempt(state, minutes_ago=61)])


@pytest.mark.parametrize("state", ["interrupted", "running"])
def test_a_training_whose_process_died_is_taken_up_at_once(decide, state):
    assert "take it up again" in decide(attempts=[attempt(state, minutes_ago=0)])


def test_one_that_dies_again_and_again_waits_an_hour(decide):
    dying = [attempt("interrupted")] * 3
    assert "take it up again" in decide(attempts=dying[:2])
    assert "take it up again" in decide(attempts=[*dying[:2], attempt("finished"), dying[0]])
    assert decide(attempts=dying) is None
    assert "take it up again" in decide(attempts=[attempt("interrupted", minutes_ago=61), *dying])


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("examples", [0, 100])
def test_what_a_person_cancelled_does_not_start_again_by_itself(decide, examples, complete):
    assert decide(attempts=[attempt("cancelled", examples)], complete=complete) is None


def test_what_a_person_cancelled_starts_again_with_new_examples(decide):
    assert decide(attempts=[attempt("cancelled", 100)], examples=150) == "50 new examples"


def test_the_file_says_how_many_new_ones_are_enough(decide, make_settings):
    pipeline = read_pipelines(make_settings("flowers").pipelines)["flowers"]
    assert reason_to_train(replace(pipeline, new_examples=101), 100, False, [], False, NOW) is None


def test_a_gateway_that_is_down_is_told_and_stops_nothing(make_settings):
    assert ask_train("flowers", make_settings("flowers")) == "train was not reached: ConnectionError"


def test_train_is_asked_with_the_id_of_the_call_that_collected(make_settings, serve, request):
    gateway, asked = Flask("gateway"), []

    @gateway.post("/function/train/flowers")
    def train():
        asked.append((flask_request.headers.get("X-Call-Id"), flask_request.headers["Authorization"]))
        return {}, 202

    settings = make_settings("flowers", OPENFAAS_URL=serve(gateway).url)
    assert ask_train("flowers", settings) == "train answered 202"
    token = CALL_ID.set("call-9")
    request.addfinalizer(lambda: CALL_ID.reset(token))
    ask_train("flowers", settings)
    assert asked == [(None, "Bearer the-train-token"), ("call-9", "Bearer the-train-token")]
