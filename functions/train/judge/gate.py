"""The gate: the rule that lets a version become champion. Pure: labels and answers in, a decision out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.pipelines import Gate
from train.judge.metrics import METRICS, counts_of

RESAMPLES, DRAWN_AT_ONCE = 2000, 100
SEED = 13
SMALL_HOLDOUT = 100
MORE_PERCENT = 10
ONE_SIDED = 0.01

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Verdict:
    """decision: promoted | kept | incomparable; `gain` and `bound` (one-sided 99 %) of the metric, if compared."""

    decision: str
    reason: str
    score: float
    champion_score: float | None = None
    gain: float | None = None
    bound: float | None = None


def compare(labels: Array, ours: Array, theirs: Array, classes: int, metric: str) -> tuple[float, float, float, float]:
    """Scores of both, the gain and its one-sided 99 % bound by the paired bootstrap (Efron & Tibshirani 1993, ch. 16).

    `theirs` may hold indices of `classes` or more: answers that no true label can equal.
    """
    width = max(classes, int(theirs.max()) + 1)
    # Examples with the same label and the same two answers are alike: how often each such triple is drawn is enough.
    triples, counts = np.unique((labels * width + ours) * width + theirs, return_counts=True)
    truth, said = triples // width**2, (triples // width % width, triples % width)

    def scores(drawn: Array) -> Array:
        return np.array([METRICS[metric](counts_of(truth, answers, width, drawn)) for answers in said])

    mine, other = (float(score) for score in scores(counts))
    generator, shares = np.random.default_rng(SEED), counts / len(labels)
    draws = (generator.multinomial(len(labels), shares, DRAWN_AT_ONCE) for _ in range(RESAMPLES // DRAWN_AT_ONCE))
    found = np.concatenate([scores(drawn) for drawn in draws], axis=1)
    return mine, other, mine - other, float(np.quantile(found[0] - found[1], ONE_SIDED))


def first_verdict(gate: Gate, score: float) -> Verdict:
    """The verdict where there is no champion: the floor alone counts."""
    if score < gate.floor:
        return Verdict("kept", f"{gate.metric} {score:.4f} is below the floor {gate.floor}; nothing serves yet", score)
    return Verdict("promoted", f"the first version: {gate.metric} {score:.4f} meets the floor {gate.floor}", score)


def verdict(
    gate: Gate, labels: Array, ours: Array, theirs: Array, classes: int, examples: int, champion_examples: int
) -> Verdict:
    """The verdict over challenger (`ours`) and champion (`theirs`) on the same raw holdout."""
    if not len(labels):
        return Verdict("kept", "no example of the holdout is new to both: promote by hand", 0.0)
    score, champion, gain, bound = compare(labels, ours, theirs, classes, gate.metric)
    told = (
        f"{gate.metric} {score:.4f} against the champion's {champion:.4f} (gain {gain:+.4f}, 99 % bound {bound:+.4f})"
    )
    found = (score, champion, gain, bound)
    if len(labels) < SMALL_HOLDOUT:
        return Verdict(
            "kept", f"the holdout has {len(labels)} examples, under {SMALL_HOLDOUT}: promote by hand; {told}", *found
        )
    if score < gate.floor:
        return Verdict("kept", f"below the floor {gate.floor}: {told}", *found)
    if gain >= gate.min_gain and bound > 0:
        return Verdict("promoted", f"better: {told}", *found)
    more = 100 * examples >= (100 + MORE_PERCENT) * champion_examples
    if more and bound > -gate.min_gain:
        return Verdict("promoted", f"no worse, on {examples} examples instead of {champion_examples}: {told}", *found)
    return Verdict("kept", f"not better: {told}", *found)
