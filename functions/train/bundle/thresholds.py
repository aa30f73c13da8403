"""The thresholds of `status`: from which confidence an answer is sure, from which novelty it is unknown. Pure numpy.

Of examples that the network that answers them has not seen.
"""

from __future__ import annotations

import math

import numpy as np

# An answer that is sure errs half as often as all do (2 % is enough), and in one of five at most.
SHARE_OF_ALL, ENOUGH, MOST = 0.5, 0.02, 0.2
# The error among the sure answers is above the stated one for at most so many draws of them.
RISK = 0.05
LEAST_SURE, LOOKS = 0.2, 50
# A confidence of 1 stands for "none is sure".
NEVER, HIGHEST = 1.0, 1 - 1e-6
NOVEL_SHARE, NOVEL_MARGIN, LEAST_NOVELTY = 0.01, 1.05, 0.1


def upper_bound(wrong: int, count: int, risk: float = RISK) -> float:
    """The largest error rate at which so few or fewer mistakes still have that probability (Clopper & Pearson 1934)."""
    if wrong >= count:
        return 1.0
    found = np.arange(wrong + 1)
    ways = math.lgamma(count + 1) - np.array(
        [math.lgamma(one + 1) + math.lgamma(count - one + 1) for one in range(wrong + 1)]
    )
    low, high = wrong / count, 1.0
    for _ in range(40):
        rate = (low + high) / 2
        chance = np.exp(ways + found * math.log(rate) + (count - found) * math.log1p(-rate)).sum()
        low, high = (rate, high) if chance > risk else (low, rate)
    return high


def sure_threshold(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The confidence from which an answer is sure, and the error rate that such answers keep with 95 % probability.

    Thresholds are tested from high to low, each by the exact bound on the error of the answers above it, and the last
    before the first that fails is taken: fixed sequence testing (Learn then Test, Angelopoulos et al. 2021,
    arXiv:2110.01052). Where the sequence begins follows from the confidences alone, so labels are looked at only to
    test. If even its first threshold does not keep the rate, what that one keeps is stated, up to 20 %; beyond, or with
    too few examples to show it, nothing is sure: a threshold of 1.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    confidence = probabilities.max(axis=1)[order]
    mistakes = np.cumsum((probabilities.argmax(axis=1) != labels)[order])
    count = len(order)
    rate = _percent(min(MOST, max(SHARE_OF_ALL * mistakes[-1] / count, ENOUGH)))
    predicted = np.cumsum(1 - confidence) / np.arange(1, count + 1)
    first = max(int(np.searchsorted(predicted, rate / 2, side="right")), math.ceil(LEAST_SURE * count))
    # As many as have that confidence: equal ones are sure together or not at all.
    ends = [int(np.searchsorted(-confidence, -confidence[one - 1], side="right")) for one in _looks(first, count)]
    bound = upper_bound(int(mistakes[ends[0] - 1]), ends[0])
    if bound > MOST:
        return NEVER, rate
    rate, last = max(rate, _percent(bound)), ends[0]
    for end in ends[1:]:
        if upper_bound(int(mistakes[end - 1]), end) > rate:
            break
        last = end
    return min(float(confidence[last - 1]), HIGHEST), rate


def _looks(first: int, count: int) -> list[int]:
    return [*range(first, count, max(1, count // LOOKS)), count]


def _percent(rate: float) -> float:
    """Rounded up to a whole percent."""
    return math.ceil(rate * 100 - 1e-9) / 100


def novelty_threshold(novelty: np.ndarray) -> float:
    """The novelty beyond which an input is unknown: a percent of known inputs is about as far."""
    return max(float(np.quantile(novelty, 1 - NOVEL_SHARE)) * NOVEL_MARGIN, LEAST_NOVELTY)
