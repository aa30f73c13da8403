"""Predictions have a status, titles in both languages, and rounded probabilities."""

import numpy as np
import pytest

from common.inference.contract import (
    Contract,
    Interval,
    Label,
    Metrics,
    PictureFeatures,
    SplitRule,
    Thresholds,
    Title,
)
from common.inference.predictions import MAX_ROUNDED_IN_PYTHON, predictions, rounded, status_of, statuses

THRESHOLDS = Thresholds(sure=0.8, novelty=3.0)
INTERVAL = Interval(value=0.5, low=0.4, high=0.6)
CONTRACT = Contract(
    pipeline="pets",
    kind="image",
    title=Title(en="Pets", es="Mascotas"),
    labels=[Label(value="cat", en="Cat", es="Gato"), Label(value="dog", en="Dog", es="Perro")],
    target="",
    features=PictureFeatures(image_size=32),
    split=SplitRule(salt="sabueso-1", fractions=(0.7, 0.1, 0.2)),
    temperature=1.0,
    thresholds=THRESHOLDS,
    metrics=Metrics(
        holdout_size=10, accuracy=INTERVAL, macro_f1=INTERVAL, log_loss=INTERVAL, calibration_error=INTERVAL
    ),
    per_class=[],
    snapshot="0" * 64,
    settings_fingerprint="1" * 64,
    examples=100,
    made_up=True,
    git_commit="unknown",
    trained_at="2026-01-01T00:00:00.000Z",
)


@pytest.mark.parametrize(
    ("confidence", "novelty", "status"),
    [
        (0.8, 1.0, "sure"),
        (0.79, 1.0, "uncertain"),
        (0.99, 3.0, "sure"),
        (0.99, 3.1, "unknown"),
        (0.5, 3.1, "unknown"),
        (0.99, float("inf"), "unknown"),
        (0.99, float("nan"), "unknown"),
    ],
)
def test_a_prediction_is_sure_uncertain_or_unknown(confidence, novelty, status):
    assert status_of(confidence, novelty, THRESHOLDS) == status
    assert statuses(np.array([[confidence, 0.1]]), np.array([novelty]), THRESHOLDS) == [status]


def test_with_a_threshold_of_one_no_answer_is_sure():
    never_sure = Thresholds(sure=1.0, novelty=3.0)
    assert status_of(1.0, 1.0, never_sure) == "uncertain"
    assert statuses(np.array([[1.0]]), np.array([1.0]), never_sure) == ["uncertain"]


def test_each_answer_has_its_own_status():
    probabilities = np.array([[0.1, 0.9], [0.6, 0.4], [0.9, 0.1]], np.float32)
    assert statuses(probabilities, np.array([1.0, 1.0, 9.0]), THRESHOLDS) == ["sure", "uncertain", "unknown"]


def test_a_prediction_names_the_most_likely_label_in_both_languages():
    [first, second] = predictions(np.array([[0.02, 0.98], [0.6, 0.4]], np.float32), np.array([1.0, 1.0]), CONTRACT)
    assert (first["label"], first["title"], first["status"]) == ("dog", {"en": "Dog", "es": "Perro"}, "sure")
    assert first["probabilities"] == pytest.approx({"cat": 0.02, "dog": 0.98}, abs=1e-6)
    assert first["confidence"] == first["probabilities"]["dog"]
    assert (second["label"], second["status"]) == ("cat", "uncertain")


@pytest.mark.parametrize("count", [1, MAX_ROUNDED_IN_PYTHON])  # rounded by Python, and by numpy
def test_no_rounded_probability_exceeds_one(count):
    probabilities = np.array([[1.00001, 0.0]] * count, np.float32)
    for prediction in predictions(probabilities, np.zeros(count), CONTRACT):
        assert prediction["confidence"] == prediction["probabilities"]["cat"] == 1


def test_python_and_numpy_round_probabilities_alike():
    probabilities = np.random.default_rng(1).random((3000, 2)).astype(np.float32)
    probabilities[:500, 0] = (np.arange(500) + 0.5) / 1e6  # halfway between two roundings, as closely as float32 allows
    assert probabilities.size > MAX_ROUNDED_IN_PYTHON
    one_by_one = [rounded(probabilities[index : index + 1])[0] for index in range(len(probabilities))]
    assert one_by_one == rounded(probabilities)
