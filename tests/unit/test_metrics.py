"""Metrics equal those of scikit-learn and have bootstrap intervals."""

import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as sklearn

from common.inference.contract import Interval
from train.statistics.metrics import (
    SEED,
    accuracy_of,
    calibration_error,
    confusion,
    counts_of,
    evaluate,
    ideal_calibration_errors,
    log_loss,
    macro_f1_of,
)

NAMES = ("small", "middle", "large", "never")


def answers(count=400, seed=0, classes=3):
    """Labels, and probabilities that are often right."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    scores = generator.normal(size=(count, len(NAMES))) + 1.5 * np.eye(len(NAMES))[labels]
    powers = np.exp(scores)
    return labels, powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_f1_and_log_loss_equal_those_of_scikit_learn(seed):
    labels, probabilities = answers(seed=seed)
    predicted = probabilities.argmax(axis=1)
    counts = counts_of(labels, predicted, len(NAMES))
    assert (
        confusion(labels, predicted, len(NAMES))
        == sklearn.confusion_matrix(labels, predicted, labels=range(len(NAMES)))
    ).all()
    assert accuracy_of(counts) == pytest.approx(sklearn.accuracy_score(labels, predicted))
    assert macro_f1_of(counts) == pytest.approx(sklearn.f1_score(labels, predicted, average="macro"))
    assert log_loss(probabilities, labels).mean() == pytest.approx(
        sklearn.log_loss(labels, probabilities, labels=range(len(NAMES)))
    )


def test_a_label_that_neither_occurs_nor_is_predicted_does_not_count():
    labels = predicted = np.array([0, 1, 1, 0])
    assert macro_f1_of(counts_of(labels, predicted, 4)) == 1


def test_scores_of_resamples_equal_those_of_scikit_learn_with_sample_weights():
    labels, probabilities = answers()
    predicted = probabilities.argmax(axis=1)
    drawn = np.random.default_rng(6).integers(0, 4, (5, len(labels)))
    counts = counts_of(labels, predicted, len(NAMES), drawn)
    assert counts.truth.shape == counts.predicted.shape == counts.hits.shape == (5, len(NAMES))
    accuracies = [sklearn.accuracy_score(labels, predicted, sample_weight=weights) for weights in drawn]
    scores = [sklearn.f1_score(labels, predicted, average="macro", sample_weight=weights) for weights in drawn]
    assert accuracy_of(counts) == pytest.approx(np.array(accuracies))
    assert macro_f1_of(counts) == pytest.approx(np.array(scores))


def test_answers_that_are_all_wrong_have_an_f1_of_zero():
    assert macro_f1_of(counts_of(np.array([0, 1]), np.array([1, 0]), 2, np.array([[2, 0], [1, 1]]))).tolist() == [0, 0]


def test_the_log_loss_of_a_fully_confident_mistake_is_finite():
    assert np.isfinite(log_loss(np.array([[1.0, 0.0]]), np.array([1]))).all()


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    confidence = np.repeat([0.25, 0.75], 400)
    correct = np.concatenate([np.arange(400) % 4 == 0, np.arange(400) % 4 != 0]).astype(float)
    assert calibration_error(confidence, correct) == pytest.approx(0)
    assert calibration_error(np.ones(10), np.zeros(10)) == pytest.approx(1)
    assert calibration_error(np.full(100, 0.9), (np.arange(100) < 60).astype(float)) == pytest.approx(0.3)


def test_metrics_per_label_equal_those_of_scikit_learn():
    labels, probabilities = answers()
    _, per_class = evaluate(probabilities, labels, NAMES)
    precision, recall, _, support = sklearn.precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(NAMES)), zero_division=0
    )
    assert [metrics.label for metrics in per_class] == list(NAMES)
    assert [metrics.support for metrics in per_class] == support.tolist()
    assert [metrics.precision.value for metrics in per_class] == pytest.approx(precision.tolist(), abs=1e-6)
    assert [metrics.recall.value for metrics in per_class] == pytest.approx(recall.tolist(), abs=1e-6)


def test_intervals_per_label_follow_from_the_seeded_resamples():
    labels, probabilities = answers()
    predicted = probabilities.argmax(axis=1)
    generator = np.random.default_rng(SEED)
    resamples = [generator.integers(0, len(labels), len(labels)) for _ in range(500)]
    _, per_class = evaluate(probabilities, labels, NAMES)
    for index in range(3):
        for interval, selected_by in ((per_class[index].precision, predicted), (per_class[index].recall, labels)):
            shares = [(labels == predicted)[chosen][selected_by[chosen] == index].mean() for chosen in resamples]
            expected = [round(end, 6) for end in np.quantile(shares, [0.025, 0.975])]
            assert [interval.low, interval.high] == expected


def test_five_hundred_labels_take_little_memory():
    labels, predicted = np.random.default_rng(2).integers(0, 500, (2, 2000))
    probabilities = np.eye(500, dtype=np.float32)[predicted]
    tracemalloc.start()
    evaluate(probabilities, labels, tuple(map(str, range(500))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


def test_every_interval_contains_its_value_and_narrows_with_more_examples():
    few, many = (evaluate(probabilities, labels, NAMES)[0] for labels, probabilities in (answers(100), answers(2500)))
    names = {"accuracy", "macro_f1", "log_loss", "calibration_error", "calibration_error_ideal"}
    assert few.intervals().keys() == many.intervals().keys() == names
    for name, interval in few.intervals().items():
        assert interval.low <= interval.value <= interval.high
        narrower = many.intervals()[name]
        assert narrower.high - narrower.low < (interval.high - interval.low) / 2
    assert (few.holdout_size, many.holdout_size) == (100, 2500)


def test_the_width_of_an_interval_agrees_with_theory():
    labels, probabilities = answers(1000)
    accuracy = evaluate(probabilities, labels, NAMES)[0].accuracy
    theory = 2 * 1.96 * np.sqrt(accuracy.value * (1 - accuracy.value) / 1000)
    assert accuracy.high - accuracy.low == pytest.approx(theory, rel=0.2)


def test_metrics_are_reproducible():
    labels, probabilities = answers()
    assert evaluate(probabilities, labels, NAMES) == evaluate(probabilities, labels, NAMES)


def test_shares_and_errors_by_status_are_measured_with_intervals():
    labels = np.array([0, 1] * 50)
    probabilities = np.tile([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]], (25, 1))
    statuses = ["sure", "sure", "sure", "unknown"] * 25
    metrics = evaluate(probabilities, labels, ("no", "yes"), statuses)[0]
    assert metrics.sure_share.value == 0.75
    assert metrics.unknown_share.value == 0.25
    assert metrics.sure_error.value == pytest.approx(1 / 3, abs=1e-6)
    for interval in (metrics.sure_share, metrics.unknown_share, metrics.sure_error):
        assert interval.low < interval.value < interval.high


def test_without_sure_answers_there_is_no_error_of_sure_answers():
    labels, probabilities = answers(100)
    metrics = evaluate(probabilities, labels, NAMES, ["uncertain"] * 100)[0]
    assert metrics.sure_error is None
    assert "sure_error" not in metrics.intervals()
    assert metrics.sure_share.value == 0


def test_intervals_do_not_collapse_if_no_answer_is_wrong():
    """All resamples of correct answers are correct, so their interval would be a single point."""
    labels = np.arange(30) % 2
    probabilities = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
    metrics, per_class = evaluate(probabilities, labels, ("no", "yes"), ["sure"] * 30)
    assert metrics.accuracy.low == pytest.approx(0.025 ** (1 / 30), abs=1e-6)
    assert metrics.sure_error == Interval(value=0, low=0, high=round(1 - 0.025 ** (1 / 30), 6))
    assert per_class[0].recall.low == pytest.approx(0.025 ** (1 / 15), abs=1e-6)


def test_the_ideal_calibration_error_is_that_of_a_calibrated_model_on_as_many_examples():
    generator = np.random.default_rng(4)
    ideals = []
    for count in (200, 5000):
        confidence = generator.uniform(0.5, 1, count)
        drawn = [calibration_error(confidence, generator.random(count) < confidence) for _ in range(100)]
        ideal = np.mean(ideal_calibration_errors(confidence))
        assert ideal == pytest.approx(np.mean(drawn), rel=0.1)
        assert calibration_error(confidence, generator.random(count) < confidence - 0.2) > ideal + 0.1
        ideals.append(ideal)
    assert ideals[0] > 3 * ideals[1]
