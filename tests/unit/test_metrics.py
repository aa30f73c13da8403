"""Metrics are those of scikit-learn, with intervals that hold them."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from train.metrics import accuracy_of, calibration_error, confusion, evaluate, log_loss, macro_f1_of

NAMES = ("small", "middle", "large", "never")


def answers(count=400, seed=0, classes=3):
    """Labels, and probabilities that are right rather often."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    scores = generator.normal(size=(count, len(NAMES))) + 1.5 * np.eye(len(NAMES))[labels]
    powers = np.exp(scores)
    return labels, powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed):
    labels, probabilities = answers(seed=seed)
    said = probabilities.argmax(axis=1)
    table = confusion(labels, said, len(NAMES))
    assert (table == sklearn.confusion_matrix(labels, said, labels=range(len(NAMES)))).all()
    assert accuracy_of(table) == pytest.approx(sklearn.accuracy_score(labels, said))
    assert macro_f1_of(table) == pytest.approx(sklearn.f1_score(labels, said, average="macro"))
    assert log_loss(probabilities, labels).mean() == pytest.approx(
        sklearn.log_loss(labels, probabilities, labels=range(len(NAMES)))
    )


def test_a_label_that_neither_occurs_nor_is_answered_does_not_count():
    labels = said = np.array([0, 1, 1, 0])
    assert macro_f1_of(confusion(labels, said, 4)) == 1


def test_a_sure_mistake_costs_much_but_not_everything():
    assert np.isfinite(log_loss(np.array([[1.0, 0.0]]), np.array([1]))).all()


def test_confidence_that_is_right_as_often_as_it_says_has_no_calibration_error():
    confidence = np.repeat([0.25, 0.75], 400)
    correct = np.concatenate([np.arange(400) % 4 == 0, np.arange(400) % 4 != 0]).astype(float)
    assert calibration_error(confidence, correct) == pytest.approx(0)
    assert calibration_error(np.ones(10), np.zeros(10)) == pytest.approx(1)
    assert calibration_error(np.full(100, 0.9), (np.arange(100) < 60).astype(float)) == pytest.approx(0.3)


def test_figures_per_label_are_those_of_scikit_learn():
    labels, probabilities = answers()
    _, per_class = evaluate(probabilities, labels, NAMES)
    precision, recall, _, support = sklearn.precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(NAMES)), zero_division=0
    )
    assert [one["label"] for one in per_class] == list(NAMES)
    assert [one["support"] for one in per_class] == support.tolist()
    assert [one["precision"]["value"] for one in per_class] == pytest.approx(precision.tolist(), abs=1e-6)
    assert [one["recall"]["value"] for one in per_class] == pytest.approx(recall.tolist(), abs=1e-6)


def test_every_interval_holds_its_value_and_narrows_with_more_examples():
    few, many = (evaluate(probabilities, labels, NAMES)[0] for labels, probabilities in
                 (answers(100), answers(2500)))  # fmt: skip
    for name in ("accuracy", "macro_f1", "log_loss"):
        assert few[name]["low"] <= few[name]["value"] <= few[name]["high"]
        assert many[name]["high"] - many[name]["low"] < (few[name]["high"] - few[name]["low"]) / 2
    assert (few["holdout_size"], many["holdout_size"]) == (100, 2500)


def test_an_interval_is_about_as_wide_as_theory_says():
    labels, probabilities = answers(1000)
    accuracy = evaluate(probabilities, labels, NAMES)[0]["accuracy"]
    theory = 2 * 1.96 * np.sqrt(accuracy["value"] * (1 - accuracy["value"]) / 1000)
    assert accuracy["high"] - accuracy["low"] == pytest.approx(theory, rel=0.2)


def test_the_same_answers_get_the_same_figures():
    labels, probabilities = answers()
    assert evaluate(probabilities, labels, NAMES) == evaluate(probabilities, labels, NAMES)
