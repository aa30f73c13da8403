"""scripts/bench quality on a few made-up examples: its report, and that its predictions give the same scores."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sklearn import metrics

from benchmarks.quality_data import FRACTIONS, Spec, pipeline_of, read_test, read_train
from benchmarks.quality_scores import differences, means_with_intervals, score
from common.inference.features import canonical_row
from conftest import wait_until
from deploying import PLACES
from local.drawings import draw_pets
from local.made_up_rows import COLUMNS, made_up_rows
from train.snapshot import split_of
from train.statistics.metrics import ideal_calibration_errors

SCORED = {"accuracy", "macro_f1", "log_loss", "ece"}
REPORTED = SCORED | {"ece_ideal", "seconds", "peak_mb", "budget_s", "train", "tune", "test", "intervals", "seeds"}
COMMAND = [sys.executable, "-m", "benchmarks.quality"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows and drawings, to train and to test."""
    folder = tmp_path_factory.mktemp("data")
    for name, rows, pictures, seed in (("train", 500, 60, 1), ("test", 200, 24, 2)):
        write_rows(folder / f"{name}.csv", made_up_rows(rows, seed))
        draw_pets(folder / name, pictures, seed)
    return folder


def write_rows(path: Path, rows: list[list[str]], columns: list[str] = COLUMNS) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(PLACES), "CUDA_VISIBLE_DEVICES": "-1", **more}


def bench(folder: Path, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False, timeout=400
    )


def trainings(bench: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        found = psutil.Process(bench.pid).children()
    except psutil.NoSuchProcess:
        return []
    return [one for one in found if "benchmarks.quality_train" in one.cmdline()]


@pytest.mark.parametrize(
    ("task", "peer", "form"),
    [("covertype", "lightgbm", ".csv"), ("pets", "logistic", "")],
    ids=["rows", "pictures"],
)
def test_the_figures_match_the_written_predictions(data: Path, tmp_path: Path, task: str, peer: str, form: str) -> None:
    given = ["--train", data / f"train{form}", "--test", data / f"test{form}"]
    done = bench(tmp_path, *given, "--seeds", 1, "--budget", 2, "--json")
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    found = json.loads(last)
    assert list(found) == [task]
    assert list(found[task]) == ["ours", peer]
    assert "INSTEAD OF" in done.stdout
    assert any(line.startswith(f"ours - {peer}") for line in table)
    examples = expected_examples(data, form)
    for model, result in found[task].items():
        assert set(result) == REPORTED
        assert (result["budget_s"], list(result["seeds"])) == (2, ["1"])
        assert result["peak_mb"] > 100
        assert result["seconds"] > 0
        assert (result["train"] + result["tune"], result["test"]) == (500 if form else 60, len(examples))
        predictions, again = scored_again(tmp_path / "bench-quality" / f"{task}-{model}-1.csv")
        assert predictions == examples
        assert {name: result[name] for name in SCORED} == pytest.approx(again, abs=2e-6)
        for name, (low, high) in result["intervals"].items():
            assert low <= high, name
        assert f"{result['accuracy']:.4f}" in done.stdout


def expected_examples(data: Path, form: str) -> list[tuple[str, str]]:
    if form:
        with (data / "test.csv").open(newline="") as file:
            return [(str(number), row["Cover_Type"]) for number, row in enumerate(csv.DictReader(file), start=1)]
    files = sorted((data / "test").glob("*/*.jpg"))
    return [(f"{file.parent.name}/{file.name}", file.parent.name) for file in files]


def scored_again(path: Path) -> tuple[list[tuple[str, str]], dict[str, float]]:
    """Examples with their labels, and the scores by scikit-learn, from the file alone."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith("p_")]
    values = [name.removeprefix("p_") for name in names]
    probabilities = np.array([[float(row[name]) for name in names] for row in rows])
    labels, answers = [row["label"] for row in rows], [row["answer"] for row in rows]
    assert answers == [values[place] for place in probabilities.argmax(axis=1)]
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(rows)), abs=1e-5)
    confidence = probabilities.max(axis=1)
    correct = np.array(labels) == np.array(answers)
    bins = np.minimum((confidence * 15).astype(int), 14)
    apart = [abs(correct[bins == one].mean() - confidence[bins == one].mean()) for one in np.unique(bins)]
    weights = [float((bins == one).mean()) for one in np.unique(bins)]
    true = probabilities[np.arange(len(rows)), [values.index(label) for label in labels]]
    return [(row["example"], row["label"]) for row in rows], {
        "accuracy": metrics.accuracy_score(labels, answers),
        "macro_f1": metrics.f1_score(labels, answers, average="macro"),
        "log_loss": float(-np.log(np.clip(true, 1e-7, 1)).mean()),
        "ece": float(np.dot(weights, apart)),
    }


def drop_columns(path: Path, data: Path) -> None:
    write_rows(path, [row[2:] for row in made_up_rows(20)], COLUMNS[2:])


def wrong_value(path: Path, data: Path) -> None:
    rows = made_up_rows(20)
    rows[6][0] = "high"
    write_rows(path, rows)


def no_dogs(path: Path, data: Path) -> None:
    (path / "cat").mkdir(parents=True)
    (path / "cat" / "1.jpg").write_bytes((data / "test" / "cat" / "0000.jpg").read_bytes())


def no_picture(path: Path, data: Path) -> None:
    no_dogs(path, data)
    (path / "dog").mkdir()
    (path / "dog" / "torn.jpg").write_bytes(b"\xff\xd8\xff, and then nothing")


@pytest.mark.parametrize(
    ("make", "form", "message"),
    [
        (drop_columns, ".csv", "the CSV lacks columns: Elevation, Aspect"),
        (wrong_value, ".csv", "row 7: Elevation: must be a number, not 'high'"),
        (no_dogs, "", "no pictures in a folder dog; the folders cat, dog are needed"),
        (no_picture, "", "dog/torn.jpg: can't be read as a picture"),
    ],
    ids=["columns", "value", "folder", "picture"],
)
def test_unusable_data_are_reported_before_any_training(
    data: Path, tmp_path: Path, make: Any, form: str, message: str
) -> None:
    wrong = tmp_path / f"wrong{form}"
    make(wrong, data)
    done = bench(tmp_path, "--train", data / f"train{form}", "--test", wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"! {wrong}" in done.stderr
    assert message in done.stderr


def test_wrong_arguments_are_reported(data: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--train", data / "train.csv"), "go together"),
        (("--train", data / "train.csv", "--test", data / "test"), "differ"),
        (("--train", data / "no.csv", "--test", data / "test.csv"), f"{data}/no.csv does not exist"),
        (("--tasks", "covertype,weeds"), "unknown: weeds"),
        (("--tasks", "covertype"), "SABUESO_SHARED_DATA"),
        (("--budget", "0"), "must be from 1 to 86400"),
    ):
        done = bench(tmp_path, *arguments, SABUESO_SHARED_DATA=str(tmp_path / "nowhere"))
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_a_dead_training_is_reported_and_the_others_continue(data: Path, tmp_path: Path) -> None:
    given = ["--train", str(data / "train.csv"), "--test", str(data / "test.csv"), "--seeds", "1", "--json"]
    running = subprocess.Popen(
        [*COMMAND, *given], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: trainings(running))
    trainings(running)[0].kill()
    output, errors = running.communicate(timeout=300)
    assert running.returncode == 1
    assert "! covertype, ours, seed 1 failed (SIGKILL)" in errors
    assert list(json.loads(output.splitlines()[-1])["covertype"]) == ["lightgbm"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_no_training_outlives_the_bench(data: Path, tmp_path: Path, how: signal.Signals) -> None:
    given = ["--train", str(data / "train.csv"), "--test", str(data / "test.csv")]
    running = subprocess.Popen(
        [*COMMAND, *given],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "planning epochs" in line:  # TensorFlow is at work
            break
    (training,) = trainings(running)
    running.send_signal(how)
    running.communicate(timeout=60)
    assert running.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(how, -how)
    training.wait(20)
    assert not training.is_running()


def test_each_seed_draws_other_rows_and_the_same_test_rows_are_in_none(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    rows = made_up_rows(10_600)
    write_rows(table, rows)
    spec = Spec("covertype", "covertype", "ours", 1, 5, 5, str(table), str(table), rows=400)
    pipeline = pipeline_of(spec)
    tests, drawn = [], []
    for seed in (1, 1, 2):
        train, tune = read_train(replace(spec, seed=seed), pipeline)
        tests.append(read_test(replace(spec, seed=seed), pipeline).names)
        drawn.append(set(train.names) | set(tune.names))
        assert not drawn[-1] & set(tests[-1])
        for split, data in enumerate((train, tune)):
            assert {split_of(canonical_row(one), fractions=FRACTIONS) for one in data.inputs} == {split}
            assert [rows[int(name) - 1][-1] for name in data.names] == [str(label) for label in data.labels]
    assert tests[0] == tests[1] == tests[2]
    assert len(set(tests[0])) == 10_000
    assert drawn[0] == drawn[1] != drawn[2]
    assert 380 <= len(drawn[0]) <= 400


def test_the_error_of_perfect_calibration_falls_with_the_number_of_examples() -> None:
    generator = np.random.default_rng(0)
    for count, most in ((200, 0.12), (20_000, 0.012)):
        first = generator.uniform(0.5, 1, count)
        probabilities = np.stack([first, 1 - first], axis=1)
        labels = (generator.random(count) > first).astype(int)
        found = score(probabilities, labels)
        assert found["ece_ideal"] == np.mean(ideal_calibration_errors(probabilities.max(axis=1)))
        assert found["ece"] == pytest.approx(found["ece_ideal"], abs=most / 3)
        assert most / 4 < found["ece_ideal"] < most
    sure = np.full(20_000, 0.99)
    found = score(np.stack([sure, 1 - sure], axis=1), (generator.random(20_000) > 0.7).astype(int))
    assert found["ece"] > 0.28 > 10 * found["ece_ideal"]


def test_intervals_hold_the_mean_and_differences_are_paired() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 2000)
    sure = np.eye(3)[np.where(generator.random(2000) < 0.8, labels, (labels + 1) % 3)] * 0.7 + 0.1
    better = sure.copy()
    better[:60] = np.eye(3)[labels[:60]] * 0.7 + 0.1
    value, low, high = means_with_intervals([(sure, labels)])["accuracy"]
    assert low < value < high
    assert high - low == pytest.approx(2 * 1.96 * (0.8 * 0.2 / 2000) ** 0.5, rel=0.15)
    value, low, high = differences([(better, labels)], [(sure, labels)])["accuracy"]
    assert 0 < low < value < high < 0.012  # unpaired it would be as wide as the interval above
