"""What a prediction says of itself."""

import numpy as np
import pytest

from common.network import FEW, predictions, rounded, status_of, statuses

THRESHOLDS = {"sure": 0.8, "novelty": 3.0}
CONTRACT = {
    "labels": [{"value": "cat", "en": "Cat", "es": "Gato"}, {"value": "dog", "en": "Dog", "es": "Perro"}],
    "thresholds": THRESHOLDS,
}


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


def test_nothing_is_sure_from_a_threshold_of_one():
    assert status_of(1.0, 1.0, {"sure": 1.0, "novelty": 3.0}) == "uncertain"
    assert statuses(np.array([[1.0]]), np.array([1.0]), {"sure": 1.0, "novelty": 3.0}) == ["uncertain"]


def test_each_answer_has_its_status():
    probabilities = np.array([[0.1, 0.9], [0.6, 0.4], [0.9, 0.1]], np.float32)
    assert statuses(probabilities, np.array([1.0, 1.0, 9.0]), THRESHOLDS) == ["sure", "uncertain", "unknown"]


def test_a_prediction_names_the_likeliest_label_in_both_languages():
    [first, second] = predictions(np.array([[0.02, 0.98], [0.6, 0.4]], np.float32), np.array([1.0, 1.0]), CONTRACT)
    assert (first["label"], first["title"], first["status"]) == ("dog", {"en": "Dog", "es": "Perro"}, "sure")
    assert first["probabilities"] == pytest.approx({"cat": 0.02, "dog": 0.98}, abs=1e-6)
    assert first["confidence"] == first["probabilities"]["dog"]
    assert (second["label"], second["status"]) == ("cat", "uncertain")


def test_no_rounding_makes_a_probability_larger_than_one():
    for count in (1, FEW):  # few and many are rounded in ways of their own
        shares = np.array([[1.00001, 0.0]] * count, np.float32)
        for one in predictions(shares, np.zeros(count), CONTRACT):
            assert one["confidence"] == one["probabilities"]["cat"] == 1


def test_a_few_probabilities_are_rounded_as_many_are():
    shares = np.random.default_rng(1).random((3000, 2)).astype(np.float32)
    shares[:500, 0] = (np.arange(500) + 0.5) / 1e6  # halfway, as near as float32 comes
    assert shares.size > FEW
    assert [rounded(shares[at : at + 1])[0] for at in range(len(shares))] == rounded(shares)
