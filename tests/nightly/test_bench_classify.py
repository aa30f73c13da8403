"""scripts/bench classify: targets, exit codes, calls to peers, peers that fail. No speed is asserted."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask, request

from benchmarks import peers
from benchmarks.calls import Call, Case, mlflow, ours, raw, v2
from benchmarks.classify import report
from benchmarks.server import Candidate, Server
from benchmarks.targets import judge_targets, medians
from benchmarks.wrk import MeasurementFailed
from conftest import Served

GOOD = {"calls_per_s": 300.0, "p50_ms": 10.0, "p99_ms": 50.0, "start_s": 0.5, "pss_mb": 110.0, "cpu_ms": 1, "others": 0}
CONTRACT: Any = None  # no test here reads it
FACTS = {"csv": {"rows": 5, "rows_per_s": 7}, "floor_ms": 0.9}


@pytest.fixture
def case() -> Case:
    row, shares = np.array([[0.5, 1.0]], "float32"), np.array([0.25, 0.75])
    return Case("tabular", "p", CONTRACT, ["no", "yes"], b'{"size": 3}', row, shares)


def test_medians_are_those_of_the_rounds() -> None:
    assert medians([{"a": 1.0, "b": 4}, {"a": 9.0, "b": 4}, {"a": 2.0, "b": 5}]) == {"a": 2.0, "b": 4}


def test_targets_are_judged_by_the_figures_of_one_run() -> None:
    figures = {
        "image": {
            "ours": {**GOOD, "pss_mb": 271.0, "cpu_ms": 6.1},
            "ours, 1 worker": {**GOOD, "calls_per_s": 900.0},
            "mlflow": {**GOOD, "calls_per_s": 30.0},
            "flask": {**GOOD, "calls_per_s": 150.0},
            "bentoml": {**GOOD, "calls_per_s": 320.0},
        },
        "tabular": {
            "ours": {**GOOD, "p99_ms": 51.0, "start_s": 1.1},
            "ours, 1 worker": {**GOOD, "pss_mb": 120.0},
        },
    }
    assert [(target.figure, target.verdict) for target in judge_targets(figures, 5.0)] == [
        (10, "pass"),
        (0.938, "FAIL"),
        (5, "pass"),
        (None, "not measured"),
        (None, "not measured"),
        (5.1, "FAIL"),
        (1.22, "FAIL"),
        (1.1, "FAIL"),
        (120, "pass"),
        (271, "FAIL"),
    ]


@pytest.mark.parametrize(("floor", "verdict"), [(5.0, "pass"), (4.9, "FAIL"), (1.0, "FAIL"), (5.3, "pass")])
def test_the_cpu_of_a_picture_is_limited_by_ratio_or_by_milliseconds(floor: float, verdict: str) -> None:
    figures = {"image": {"ours": {**GOOD, "cpu_ms": 6.0}}}
    [target] = [target for target in judge_targets(figures, floor) if "CPU" in target.name]
    assert target.verdict == verdict
    small = {"image": {"ours": {**GOOD, "cpu_ms": 1.7}}}
    assert [target.verdict for target in judge_targets(small, 1.0) if "CPU" in target.name] == ["pass"]


def test_the_exit_code_is_0_if_all_measured_targets_are_met(case: Case) -> None:
    def server() -> Server:
        raise AssertionError("nothing is started")

    alone, both = (Candidate(name, "", ours(case), server) for name in ("ours, 1 worker", "ours"))
    measured = {alone: GOOD, both: GOOD}
    assert report(measured, {}, FACTS, False) == 0
    assert report(measured, {"flask": "no flask here"}, FACTS, False) == 1
    assert report({**measured, both: {**GOOD, "start_s": 1.01}}, {}, FACTS, False) == 1


def test_peers_get_what_classify_gets_and_mlflow_the_encoded_row(case: Case) -> None:
    shares = {"yes": 0.75, "no": 0.25}
    assert raw(case).body == ours(case).body == case.body
    assert base64.b64decode(json.loads(v2(case).body)["inputs"][0]["data"][0]) == case.body
    assert json.loads(mlflow(case).body) == {"inputs": [[0.5, 1.0]]}
    answers = {
        ours: {"predictions": [{"label": "yes", "probabilities": shares}]},
        raw: {"label": "yes", "probabilities": shares},
        v2: {"outputs": [{"name": "answer", "data": [json.dumps({"label": "yes", "probabilities": shares})]}]},
        mlflow: {"predictions": {"probabilities": [[0.25, 0.75]], "novelty": [1.0]}},
    }
    for form, answer in answers.items():
        assert form(case).read(answer) in (shares, [0.25, 0.75])


def test_only_the_network_s_answer_is_accepted(case: Case, serve: Callable[[Flask], Served]) -> None:
    app = Flask("peer")

    @app.post("/predict")
    def predict() -> Any:
        return {"probabilities": json.loads(request.get_data())}

    def call(answer: Any) -> Call:
        return Call(case, "/predict", json.dumps(answer).encode(), lambda found: found["probabilities"])

    url = serve(app).url
    call([0.2505, 0.7495]).check(url)
    call({"yes": 0.75, "no": 0.25}).check(url)
    for wrong in ([0.25, 0.752], [0.25], [float("nan"), 0.75], {"yes": 0.75}, None):
        with pytest.raises(ValueError, match=r"wrong answer|no probabilities"):
            call(wrong).check(url)
    with pytest.raises(ValueError, match="404"):
        ours(case).check(url)


def test_a_failed_installation_of_a_peer_is_reported(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    (tmp_path / ".tools" / "bin").mkdir(parents=True)
    uv = tmp_path / ".tools" / "bin" / "uv"
    uv.write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    uv.chmod(0o755)
    with pytest.raises(MeasurementFailed, match="no such package"):
        peers.peer_candidates("flask", case, tmp_path, tmp_path / "work")


def test_a_server_that_ends_is_not_measured(case: Case, tmp_path: Path) -> None:
    server = Server(["/bin/sh", "-c", "echo no model; exit 3"], {}, tmp_path, 9)
    with server, pytest.raises(MeasurementFailed, match="no model"):
        server.start(ours(case))
