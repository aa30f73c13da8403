"""The gate promotes a challenger that is better, not one that is lucky."""

import tracemalloc

import numpy as np
import pytest

from common.pipelines import Gate
from train.gate.rule import MIN_HOLDOUT, RESAMPLES, SEED, compare, first_verdict, verdict
from train.statistics.metrics import METRICS, confusion, counts_of

GATE = Gate(metric="accuracy", floor=0.5, min_gain=0.002)
CLASSES = 4


def gate_with(**changes):
    return GATE.model_copy(update=changes)


def answers(generator, labels, accuracy):
    wrong = (labels + generator.integers(1, CLASSES, len(labels))) % CLASSES
    return np.where(generator.random(len(labels)) < accuracy, labels, wrong)


def judged(ours, theirs, count=1000, gate=GATE, seed=0, examples=5000, before=5000):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    both = answers(generator, labels, ours), answers(generator, labels, theirs)
    return verdict(gate, labels, *both, CLASSES, examples, before)


def promotions(metric, count, seed, challengers=40):
    """How many challengers become champion in a row although all have the same true accuracy.

    Each makes its own mistakes; all answer the same holdout, as happens while the data don't grow.
    """
    generator, gate = np.random.default_rng(seed), gate_with(metric=metric)
    labels = generator.choice(CLASSES, count, p=[0.4, 0.3, 0.2, 0.1])
    champion, promoted = answers(generator, labels, 0.8), 0

    def score(given):
        return METRICS[metric](counts_of(labels, given, CLASSES))

    for _ in range(challengers):
        challenger = answers(generator, labels, 0.8)
        if score(challenger) < score(champion) + gate.min_gain:
            continue  # without that gain the gate can only keep the champion, so the slow bootstrap is skipped
        if verdict(gate, labels, challenger, champion, CLASSES, 5000, 5000).decision == "promoted":
            champion, promoted = challenger, promoted + 1
    return promoted


@pytest.mark.parametrize("count", [200, 500, 2000])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_at_most_two_of_forty_equally_good_challengers_become_champion(metric, count):
    counts = [promotions(metric, count, seed) for seed in range(5)]
    assert max(counts) <= 2, counts
    assert np.mean(counts) <= 1, counts


def test_challengers_that_differ_in_few_answers_become_champion_as_rarely():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, CLASSES, 500)
    common, promoted = answers(generator, labels, 0.8), 0
    champion = common
    for _ in range(40):
        challenger = np.where(generator.random(500) < 0.1, answers(generator, labels, 0.8), common)
        if verdict(GATE, labels, challenger, champion, CLASSES, 5000, 5000).decision == "promoted":
            champion, promoted = challenger, promoted + 1
    assert promoted <= 2


@pytest.mark.parametrize("seed", range(5))
def test_a_better_challenger_is_promoted(seed):
    result = judged(0.88, 0.80, seed=seed)
    assert result.decision == "promoted"
    assert result.reason.startswith("better: accuracy 0.8")
    assert result.gain == pytest.approx(result.score - result.champion_score)
    assert result.bound > 0


def test_a_worse_challenger_is_not_promoted():
    assert judged(0.75, 0.80).decision == "kept"


def test_a_gain_that_may_be_luck_is_not_enough():
    result = judged(0.82, 0.80)
    assert result.gain > GATE.min_gain
    assert (result.decision, result.reason.split(":")[0]) == ("kept", "not better")
    assert result.bound < 0


def test_a_significant_gain_below_min_gain_is_not_enough():
    gate = gate_with(min_gain=0.2)
    assert judged(0.88, 0.80).decision == "promoted"
    assert judged(0.88, 0.80, gate=gate).decision == "kept"


def test_below_the_floor_nothing_is_promoted():
    gate = gate_with(floor=0.95)
    assert (judged(0.9, 0.5, gate=gate).decision, judged(0.9, 0.5, gate=gate).reason[:15]) == (
        "kept",
        "below the floor",
    )
    assert first_verdict(gate, 0.9).decision == "kept"
    assert first_verdict(gate, 0.95).decision == "promoted"


def test_with_a_small_holdout_only_a_person_promotes():
    for count, decision in ((MIN_HOLDOUT - 1, "kept"), (MIN_HOLDOUT, "promoted")):
        assert judged(1.0, 0.3, count=count).decision == decision
    assert "99 examples, under 100: promote by hand" in judged(1.0, 0.3, count=99).reason


@pytest.mark.parametrize(("examples", "decision"), [(5000, "kept"), (5499, "kept"), (5500, "promoted")])
def test_ten_percent_more_examples_win_if_the_challenger_is_not_worse(examples, decision):
    labels = np.arange(1000) % CLASSES
    same = answers(np.random.default_rng(1), labels, 0.8)
    assert verdict(GATE, labels, same, same, CLASSES, examples, 5000).decision == decision


@pytest.mark.parametrize(("examples", "decision"), [(109, "kept"), (110, "promoted")])
def test_ten_percent_more_examples_are_counted_exactly(examples, decision):
    labels = np.arange(200) % CLASSES
    assert verdict(GATE, labels, labels, labels, CLASSES, examples, 100).decision == decision


def test_more_examples_do_not_help_a_worse_challenger():
    assert judged(0.75, 0.80, examples=50_000).decision == "kept"


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_gain_and_bound_agree_with_a_bootstrap_over_examples(metric):
    generator = np.random.default_rng(8)
    labels = generator.integers(0, CLASSES, 300)
    ours, theirs = answers(generator, labels, 0.85), answers(generator, labels, 0.8)
    gains = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(0, 300, 300)
        scores = [METRICS[metric](counts_of(labels[drawn], given[drawn], CLASSES)) for given in (ours, theirs)]
        gains.append(scores[0] - scores[1])
    _, _, gain, bound = compare(labels, ours, theirs, CLASSES, metric)
    assert gain == pytest.approx(np.mean(gains), abs=0.005)
    assert bound == pytest.approx(np.quantile(gains, 0.01), abs=0.012)


def test_a_verdict_can_be_recomputed_from_the_answers():
    """The gate draws in chunks; one seeded draw of all resamples gives the same gain and bound."""
    generator = np.random.default_rng(9)
    labels = generator.integers(0, CLASSES, 300)
    ours, theirs = answers(generator, labels, 0.85), answers(generator, labels, 0.8)
    triples, counts = np.unique(np.stack([labels, ours, theirs]), axis=1, return_counts=True)
    drawn = np.random.default_rng(SEED).multinomial(300, counts / 300, RESAMPLES)

    def accuracy(given, repetitions):
        repeated = np.repeat(np.stack([triples[0], given]), repetitions, axis=1)
        return np.trace(confusion(*repeated, CLASSES)) / 300

    gains = [accuracy(triples[1], repetitions) - accuracy(triples[2], repetitions) for repetitions in drawn]
    score, champion = (labels == ours).mean(), (labels == theirs).mean()
    expected = (score, champion, score - champion, np.quantile(gains, 0.01))
    assert compare(labels, ours, theirs, CLASSES, "accuracy") == expected


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_five_hundred_labels_take_little_memory(metric):
    generator = np.random.default_rng(2)
    labels, ours, theirs = generator.integers(0, 500, (3, 2000))
    tracemalloc.start()
    compare(labels, ours, theirs, 500, metric)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_an_empty_holdout_promotes_nothing():
    empty = np.array([], dtype=int)
    assert verdict(GATE, empty, empty, empty, CLASSES, 5000, 5000).decision == "kept"


def test_a_label_that_the_champion_lacks_counts_as_a_mistake_of_the_champion():
    labels = np.arange(400) % CLASSES
    without_last_label = np.where(labels == 3, 0, labels)
    score, champion, gain, bound = compare(labels, labels, without_last_label, CLASSES, "accuracy")
    assert (score, champion, gain) == (1, 0.75, 0.25)
    assert bound > 0


def test_a_removed_label_among_the_answers_counts_as_a_mistake():
    labels = np.arange(400) % CLASSES
    with_removed_label = np.where(labels == 3, CLASSES + 1, labels)
    assert compare(labels, labels, with_removed_label, CLASSES, "accuracy")[1] == 0.75


def test_verdicts_are_reproducible():
    assert judged(0.82, 0.80) == judged(0.82, 0.80)
