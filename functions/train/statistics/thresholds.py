"""The thresholds behind `status`: the confidence above which an answer is sure, the novelty above which it is unknown.

Both are chosen on examples that the network was not fitted on. Pure numpy.
"""

from __future__ import annotations

import math

import numpy as np

# The target error rate of sure answers is half the error rate of all answers, within these limits.
ERROR_RATIO, MIN_TARGET, MAX_TARGET = 0.5, 0.02, 0.2
# The probability that the error rate of sure answers exceeds the stated one.
RISK = 0.05
MIN_SURE_SHARE, STEPS = 0.2, 50
# A threshold of 1 means that no answer is sure; all other thresholds stay below it.
NONE_SURE, MAX_THRESHOLD = 1.0, 1 - 1e-6
NOVEL_SHARE, NOVEL_MARGIN, MIN_NOVELTY = 0.01, 1.05, 0.1


def upper_bound(wrong: int, count: int, risk: float = RISK) -> float:
    """The largest error rate at which at most `wrong` mistakes have probability `risk` (Clopper & Pearson 1934)."""
    if wrong >= count:
        return 1.0
    mistakes = np.arange(wrong + 1)
    log_ways = math.lgamma(count + 1) - np.array(
        [math.lgamma(number + 1) + math.lgamma(count - number + 1) for number in range(wrong + 1)]
    )
    low, high = wrong / count, 1.0
    for _ in range(40):
        rate = (low + high) / 2
        probability = np.exp(log_ways + mistakes * math.log(rate) + (count - mistakes) * math.log1p(-rate)).sum()
        low, high = (rate, high) if probability > risk else (low, rate)
    return high


def sure_threshold(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The confidence from which an answer is sure, and the error rate that sure answers keep with 95 % probability.

    Thresholds are tested from high to low, each by the exact bound on the error of the answers above it. The last one
    before the first failure is taken: fixed sequence testing (Learn then Test, Angelopoulos et al. 2021,
    arXiv:2110.01052). The start of the sequence depends on the confidences only; labels are used only to test. If the
    first threshold already fails, the error rate is raised to the bound of that threshold, up to 20 %. Beyond 20 %, or
    with too few examples to show it, no answer is sure: the threshold is 1.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    confidence = probabilities.max(axis=1)[order]
    mistakes = np.cumsum((probabilities.argmax(axis=1) != labels)[order])
    count = len(order)
    rate = _round_up(min(MAX_TARGET, max(ERROR_RATIO * mistakes[-1] / count, MIN_TARGET)))
    predicted_error = np.cumsum(1 - confidence) / np.arange(1, count + 1)
    first = max(int(np.searchsorted(predicted_error, rate / 2, side="right")), math.ceil(MIN_SURE_SHARE * count))
    # Answers of equal confidence are sure together or not at all.
    sizes = [int(np.searchsorted(-confidence, -confidence[size - 1], side="right")) for size in _sequence(first, count)]
    bound = upper_bound(int(mistakes[sizes[0] - 1]), sizes[0])
    if bound > MAX_TARGET:
        return NONE_SURE, rate
    rate, accepted = max(rate, _round_up(bound)), sizes[0]
    for size in sizes[1:]:
        if upper_bound(int(mistakes[size - 1]), size) > rate:
            break
        accepted = size
    return min(float(confidence[accepted - 1]), MAX_THRESHOLD), rate


def _sequence(first: int, count: int) -> list[int]:
    """How many answers are sure at each tested threshold."""
    return [*range(first, count, max(1, count // STEPS)), count]


def _round_up(rate: float) -> float:
    """Rounded up to a whole percent."""
    return math.ceil(rate * 100 - 1e-9) / 100


def novelty_threshold(novelty: np.ndarray) -> float:
    """The novelty above which an input is unknown: about 1 % of known inputs lie above it."""
    return max(float(np.quantile(novelty, 1 - NOVEL_SHARE)) * NOVEL_MARGIN, MIN_NOVELTY)
