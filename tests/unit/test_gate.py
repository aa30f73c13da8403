"""The gate: luck does not make a champion, being better does."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from common.pipelines import Gate
from train.judge.gate import RESAMPLES, SEED, compare, first_verdict, verdict
from train.judge.metrics import METRICS, confusion, counts_of

GATE = Gate("accuracy", floor=0.5, min_gain=0.002)
CLASSES = 4


def answers(generator, labels, accuracy):
    wrong = (labels + generator.integers(1, CLASSES, len(labels))) % CLASSES
    return np.where(generator.random(len(labels)) < accuracy, labels, wrong)


def decide(ours, theirs, count=1000, gate=GATE, seed=0, examples=5000, before=5000):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    said = answers(generator, labels, ours), answers(generator, labels, theirs)
    return verdict(gate, labels, *said, CLASSES, examples, before)


def promotions(metric, count, seed, challengers=40):
    """How many of so many challengers in a row become champion, all as good as each other in truth.

    Each makes mistakes of its own; the holdout is one and the same, as it is while the data don't grow.
    """
    generator, gate = np.random.default_rng(seed), replace(GATE, metric=metric)
    labels = generator.choice(CLASSES, count, p=[0.4, 0.3, 0.2, 0.1])
    champion, promoted = answers(generator, labels, 0.8), 0

    def score(said):
        return METRICS[metric](counts_of(labels, said, CLASSES))

    for _ in range(challengers):
        challenger = answers(generator, labels, 0.8)
        if score(challenger) < score(champion) + gate.min_gain:
            continue  # the bootstrap is dear, and without that gain there is nothing to win
        if verdict(gate, labels, challenger, champion, CLASSES, 5000, 5000).decision == "promoted":
            champion, promoted = challenger, promoted + 1
    return promoted


@pytest.mark.parametrize("count", [200, 500, 2000])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_of_forty_equally_good_challengers_in_a_row_two_at_most_become_champion(metric, count):
    found = [promotions(metric, count, seed) for seed in range(5)]
    assert max(found) <= 2, found
    assert np.mean(found) <= 1, found


def test_challengers_that_differ_from_the_champion_in_few_answers_become_champion_as_rarely():
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
def test_a_better_one_wins(seed):
    found = decide(0.88, 0.80, seed=seed)
    assert found.decision == "promoted"
    assert found.reason.startswith("better: accuracy 0.8")
    assert found.gain == pytest.approx(found.score - found.champion_score)
    assert found.bound > 0


def test_a_worse_one_does_not():
    assert decide(0.75, 0.80).decision == "kept"


def test_a_gain_that_may_be_luck_is_not_enough():
    found = decide(0.82, 0.80)
    assert found.gain > GATE.min_gain
    assert (found.decision, found.reason.split(":")[0]) == ("kept", "not better")
    assert found.bound < 0


def test_a_sure_but_tiny_gain_is_not_enough():
    gate = replace(GATE, min_gain=0.2)
    assert decide(0.88, 0.80).decision == "promoted"
    assert decide(0.88, 0.80, gate=gate).decision == "kept"


def test_below_the_floor_nothing_is_promoted():
    gate = replace(GATE, floor=0.95)
    assert (decide(0.9, 0.5, gate=gate).decision, decide(0.9, 0.5, gate=gate).reason[:15]) == (
        "kept",
        "below the floor",
    )
    assert first_verdict(gate, 0.9).decision == "kept"
    assert first_verdict(gate, 0.95).decision == "promoted"


def test_a_small_holdout_promotes_by_hand_alone():
    for count, decision in ((99, "kept"), (100, "promoted")):
        found = decide(1.0, 0.3, count=count)
        assert found.decision == decision
    assert "99 examples, under 100: promote by hand" in decide(1.0, 0.3, count=99).reason


@pytest.mark.parametrize(("examples", "decision"), [(5000, "kept"), (5499, "kept"), (5500, "promoted")])
def test_no_worse_on_more_examples_wins(examples, decision):
    labels = np.arange(1000) % CLASSES
    same = answers(np.random.default_rng(1), labels, 0.8)
    assert verdict(GATE, labels, same, same, CLASSES, examples, 5000).decision == decision


@pytest.mark.parametrize(("examples", "decision"), [(109, "kept"), (110, "promoted")])
def test_ten_percent_more_are_more_to_the_example(examples, decision):
    labels = np.arange(200) % CLASSES
    assert verdict(GATE, labels, labels, labels, CLASSES, examples, 100).decision == decision


def test_worse_on_more_examples_does_not():
    assert decide(0.75, 0.80, examples=50_000).decision == "kept"


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_the_bound_is_that_of_resampled_examples(metric):
    generator = np.random.default_rng(8)
    labels = generator.integers(0, CLASSES, 300)
    ours, theirs = answers(generator, labels, 0.85), answers(generator, labels, 0.8)
    gains = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(0, 300, 300)
        scores = [METRICS[metric](counts_of(labels[drawn], said[drawn], CLASSES)) for said in (ours, theirs)]
        gains.append(scores[0] - scores[1])
    found = compare(labels, ours, theirs, CLASSES, metric)
    assert found[2] == pytest.approx(np.mean(gains), abs=0.005)
    assert found[3] == pytest.approx(np.quantile(gains, 0.01), abs=0.012)


def test_gain_and_bound_are_those_of_the_confusion_tables_of_one_seeded_draw():
    """In blocks or at once: a verdict can be told again from the holdout's answers."""
    generator = np.random.default_rng(9)
    labels = generator.integers(0, CLASSES, 300)
    ours, theirs = answers(generator, labels, 0.85), answers(generator, labels, 0.8)
    triples, counts = np.unique(np.stack([labels, ours, theirs]), axis=1, return_counts=True)
    drawn = np.random.default_rng(SEED).multinomial(300, counts / 300, RESAMPLES)

    def shares(said, often):
        repeated = np.repeat(np.stack([triples[0], said]), often, axis=1)
        return np.trace(confusion(*repeated, CLASSES)) / 300

    gains = [shares(triples[1], often) - shares(triples[2], often) for often in drawn]
    score, champion = (labels == ours).mean(), (labels == theirs).mean()
    wanted = (score, champion, score - champion, np.quantile(gains, 0.01))
    assert compare(labels, ours, theirs, CLASSES, "accuracy") == wanted


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_five_hundred_labels_take_little_memory(metric):
    generator = np.random.default_rng(2)
    labels, ours, theirs = generator.integers(0, 500, (3, 2000))
    tracemalloc.start()
    compare(labels, ours, theirs, 500, metric)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_an_empty_holdout_is_a_small_one():
    nothing = np.array([], dtype=int)
    assert verdict(GATE, nothing, nothing, nothing, CLASSES, 5000, 5000).decision == "kept"


def test_a_label_that_the_champion_lacks_counts_as_its_mistake():
    labels = np.arange(400) % CLASSES
    lacking = np.where(labels == 3, 0, labels)
    score, champion, gain, bound = compare(labels, labels, lacking, CLASSES, "accuracy")
    assert (score, champion, gain) == (1, 0.75, 0.25)
    assert bound > 0


def test_an_answer_that_is_no_label_any_more_counts_as_a_mistake():
    labels = np.arange(400) % CLASSES
    gone = np.where(labels == 3, CLASSES + 1, labels)
    assert compare(labels, labels, gone, CLASSES, "accuracy")[1] == 0.75


def test_the_same_answers_get_the_same_verdict():
    assert decide(0.82, 0.80) == decide(0.82, 0.80)
