"""The gate: decides from labels and answers whether a version becomes champion. Pure functions.

The metrics that it can compare are METRICS of train/statistics/metrics.py; a pipeline file names one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from common.pipelines import Gate
from train.statistics.metrics import METRICS, counts_of
from train.verdict import Decision, Verdict

RESAMPLES, CHUNK = 2000, 100
SEED = 13
MIN_HOLDOUT = 100
MIN_GROWTH_PERCENT = 10
QUANTILE = 0.01  # of the one-sided 99 % bound

Array = np.ndarray[Any, Any]


def compare(labels: Array, ours: Array, theirs: Array, classes: int, metric: str) -> tuple[float, float, float, float]:
    """Both scores, the gain, and the gain's one-sided 99 % bound by paired bootstrap (Efron & Tibshirani 1993, ch. 16).

    `theirs` may contain indices of `classes` and above: answers that match no true label.
    """
    width = max(classes, int(theirs.max()) + 1)
    # Examples with the same label and the same two answers are interchangeable: resample the counts of these triples.
    triples, counts = np.unique((labels * width + ours) * width + theirs, return_counts=True)
    truth, answers = triples // width**2, (triples // width % width, triples % width)

    def scores(drawn: Array) -> Array:
        return np.array([METRICS[metric](counts_of(truth, answer, width, drawn)) for answer in answers])

    our_score, their_score = (float(score) for score in scores(counts))
    generator, frequencies = np.random.default_rng(SEED), counts / len(labels)
    draws = (generator.multinomial(len(labels), frequencies, CHUNK) for _ in range(RESAMPLES // CHUNK))
    resampled = np.concatenate([scores(drawn) for drawn in draws], axis=1)
    bound = float(np.quantile(resampled[0] - resampled[1], QUANTILE))
    return our_score, their_score, our_score - their_score, bound


def first_verdict(gate: Gate, score: float) -> Verdict:
    """The verdict if there is no champion: only the floor matters."""
    if score < gate.floor:
        reason = f"{gate.metric} {score:.4f} is below the floor {gate.floor}; nothing serves yet"
        return Verdict(decision="kept", reason=reason, score=score)
    reason = f"the first version: {gate.metric} {score:.4f} meets the floor {gate.floor}"
    return Verdict(decision="promoted", reason=reason, score=score)


def verdict(
    gate: Gate, labels: Array, ours: Array, theirs: Array, classes: int, examples: int, champion_examples: int
) -> Verdict:
    """The verdict on the answers of challenger (`ours`) and champion (`theirs`) to the same raw holdout."""
    if not len(labels):
        reason = "no example of the holdout is new to both: promote by hand"
        return Verdict(decision="kept", reason=reason, score=0.0)
    score, champion, gain, bound = compare(labels, ours, theirs, classes, gate.metric)
    figures = (
        f"{gate.metric} {score:.4f} against the champion's {champion:.4f} (gain {gain:+.4f}, 99 % bound {bound:+.4f})"
    )
    has_more = 100 * examples >= (100 + MIN_GROWTH_PERCENT) * champion_examples
    decision: Decision = "kept"
    if len(labels) < MIN_HOLDOUT:
        reason = f"the holdout has {len(labels)} examples, under {MIN_HOLDOUT}: promote by hand; {figures}"
    elif score < gate.floor:
        reason = f"below the floor {gate.floor}: {figures}"
    elif gain >= gate.min_gain and bound > 0:
        decision, reason = "promoted", f"better: {figures}"
    elif has_more and bound > -gate.min_gain:
        decision, reason = "promoted", f"no worse, on {examples} examples instead of {champion_examples}: {figures}"
    else:
        reason = f"not better: {figures}"
    return Verdict(decision=decision, reason=reason, score=score, champion_score=champion, gain=gain, bound=bound)
