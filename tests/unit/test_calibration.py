"""Temperature scaling finds the lowest log loss; sure answers keep their stated error rate."""

import numpy as np
import pytest
from scipy import stats

from train.statistics.calibration import best_temperature, softmax
from train.statistics.metrics import log_loss
from train.statistics.thresholds import MAX_THRESHOLD, NONE_SURE, novelty_threshold, sure_threshold, upper_bound

UNSEEN, DRAWS = 200_000, 150


def logits_at(temperature, count=20_000, seed=0):
    """Logits that are calibrated once they are divided by the temperature."""
    generator = np.random.default_rng(seed)
    calibrated = generator.normal(size=(count, 4)) * 2
    labels = (calibrated + generator.gumbel(size=calibrated.shape)).argmax(axis=1)
    return calibrated * temperature, labels


def answers(count, seed, ease, sharpness=1.0):
    """Probabilities of two labels, over- or underconfident by `sharpness`, and the true labels."""
    generator = np.random.default_rng((seed, count))
    margin = np.abs(generator.normal(ease, 1.5, count))
    wrong = generator.random(count) > 1 / (1 + np.exp(-margin))
    confidence = 1 / (1 + np.exp(-sharpness * margin))
    return np.stack([confidence, 1 - confidence], axis=1), wrong.astype(int)


def error_of_sure_answers(threshold, unseen):
    """The error rate of the sure answers among so many examples that it is practically exact."""
    probabilities, labels = unseen
    return labels[probabilities[:, 0] >= threshold].mean()


@pytest.mark.parametrize("temperature", [0.37, 1.0, 2.34, 6.1])
def test_the_true_temperature_is_recovered(temperature):
    logits, labels = logits_at(temperature)
    assert best_temperature(logits, labels)[0] == pytest.approx(temperature, rel=0.03)


def test_no_temperature_nearby_has_a_lower_log_loss():
    logits, labels = logits_at(1.3, 300)
    temperature, loss = best_temperature(logits, labels)
    assert loss == pytest.approx(log_loss(softmax(logits, temperature), labels).mean())
    nearby = [log_loss(softmax(logits, temperature * factor), labels).mean() for factor in (0.95, 1.05)]
    assert loss <= min(nearby)


@pytest.mark.parametrize("count", [10, 1000])
def test_probabilities_from_all_correct_answers_are_limited_by_the_number_of_examples(count):
    logits = np.tile([[20.0, 0.0], [0.0, 20.0]], (count // 2, 1))
    temperature, _ = best_temperature(logits, np.arange(count) % 2)
    assert softmax(logits, temperature).max() == pytest.approx(1 - 1 / (count + 2), abs=0.1 / count)


def test_the_offset_is_not_divided_by_the_temperature():
    logits, labels = logits_at(2.0)
    offset = np.array([3.0, 0.0, -1.0, 0.0])
    assert best_temperature(logits - 2.0 * offset, labels, offset)[0] == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize(("wrong", "count"), [(0, 59), (3, 200), (40, 200), (17, 1000), (5, 5)])
def test_the_upper_bound_equals_the_clopper_pearson_bound(wrong, count):
    exact = stats.beta.ppf(0.95, wrong + 1, count - wrong) if wrong < count else 1.0
    assert upper_bound(wrong, count) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("sharpness", [0.7, 1.5])
@pytest.mark.parametrize(("count", "ease"), [(200, 2.4), (1000, 1.6)])
def test_the_stated_error_rate_holds_on_unseen_examples_for_nearly_every_tune_split(count, ease, sharpness):
    unseen = answers(UNSEEN, 0, ease, sharpness)
    thresholds = [sure_threshold(*answers(count, seed, ease, sharpness)) for seed in range(1, DRAWS + 1)]
    sure = [(threshold, rate) for threshold, rate in thresholds if threshold < NONE_SURE]
    kept = [error_of_sure_answers(threshold, unseen) <= rate for threshold, rate in sure]
    assert len(sure) > 0.8 * DRAWS
    assert np.mean(kept) >= 0.94
    shares = [(unseen[0][:, 0] >= threshold).mean() for threshold, _ in sure]
    assert np.mean(shares) > 0.2
    assert max(rate for _, rate in sure) <= 0.2


def test_with_a_large_tune_split_the_stated_error_is_half_the_overall_error():
    probabilities, labels = answers(5000, 3, 2.0)
    threshold, rate = sure_threshold(probabilities, labels)
    assert labels.mean() / 2 <= rate <= labels.mean() / 2 + 0.01
    assert (probabilities[:, 0] >= threshold).mean() > 0.5


def test_all_answers_of_a_nearly_perfect_model_are_sure():
    probabilities, labels = np.tile([[0.99, 0.01]], (1000, 1)), np.zeros(1000, int)
    labels[:5] = 1
    assert sure_threshold(probabilities, labels) == (0.99, 0.02)


@pytest.mark.parametrize("count", [2, 10])
def test_with_too_few_examples_no_answer_is_sure(count):
    assert sure_threshold(np.tile([[0.99, 0.01]], (count, 1)), np.zeros(count, int))[0] == NONE_SURE


def test_no_answer_is_sure_if_confidence_is_uninformative():
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0.5, 1, 500)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    assert sure_threshold(probabilities, generator.integers(0, 2, 500))[0] == NONE_SURE


def test_equal_confidences_share_a_status_and_a_confidence_of_one_can_be_sure():
    assert sure_threshold(np.tile([[1.0, 0.0]], (500, 1)), np.zeros(500, int)) == (MAX_THRESHOLD, 0.02)
    mixed = np.tile([[0.9, 0.1]], (400, 1)), (np.arange(400) >= 300).astype(int)
    assert sure_threshold(*mixed)[0] == NONE_SURE


def test_nearly_all_known_inputs_stay_below_the_novelty_threshold():
    generator = np.random.default_rng(2)
    threshold = novelty_threshold(generator.gamma(9, size=1000))
    assert 0 < (generator.gamma(9, size=100_000) > threshold).mean() < 0.01
    assert novelty_threshold(np.zeros(10)) > 0
