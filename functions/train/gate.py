"""The gate: the rule that lets a version become champion. Pure: labels and answers in, a decision out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.pipelines import Gate
from train.metrics import METRICS, confusion

RESAMPLES = 2000
SEED = 13
SMALL_HOLDOUT = 100
MORE_EXAMPLES = 1.1
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
    score = METRICS[metric]
    generator = np.random.default_rng(SEED)
    gains = []
    for _ in range(RESAMPLES):
        chosen = generator.integers(0, len(labels), len(labels))
        mine = score(confusion(labels[chosen], ours[chosen], width))
        gains.append(mine - score(confusion(labels[chosen], theirs[chosen], width)))
    mine, other = score(confusion(labels, ours, width)), score(confusion(labels, theirs, width))
    return mine, other, mine - other, float(np.quantile(gains, ONE_SIDED))


def first_verdict(gate: Gate, score: float) -> Verdict:
    """The verdict where there is no champion: the floor alone counts."""
    if score < gate.floor:
        return Verdict("kept", f"{gate.metric} {score:.4f} is below the floor {gate.floor}; nothing serves yet", score)
    return Verdict("promoted", f"the first version: {gate.metric} {score:.4f} meets the floor {gate.floor}", score)


def verdict(
    gate: Gate, labels: Array, ours: Array, theirs: Array, classes: int, examples: int, champion_examples: int
) -> Verdict:
    """The verdict over challenger (`ours`) and champion (`theirs`) on the same raw holdout."""
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
    if examples >= MORE_EXAMPLES * champion_examples and bound > -gate.min_gain:
        return Verdict("promoted", f"no worse, on {examples} examples instead of {champion_examples}: {told}", *found)
    return Verdict("kept", f"not better: {told}", *found)
