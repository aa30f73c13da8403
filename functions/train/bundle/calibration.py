"""From a network's logits to probabilities that mean what they say. Pure numpy, of the tune part alone."""

from __future__ import annotations

import numpy as np

from train.judge.metrics import log_loss

COLDEST, HOTTEST, LOOKS = 0.25, 8.0, 16
GOLDEN = (5**0.5 - 1) / 2


def join_members(logits: np.ndarray) -> np.ndarray:
    """Logits (n, members, classes) -> logs of the members' mean probabilities (n, classes)."""
    return np.log(np.clip(softmax(logits).mean(axis=1), 1e-12, 1))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The temperature of the lowest log loss, and that log loss (Guo et al. 2017, arXiv:1706.04599).

    By golden section on its logarithm, to half a percent: the loss has one minimum (it is convex in 1 / temperature).
    """

    def loss(place: float) -> float:
        return float(log_loss(softmax(logits, float(np.exp(place))), labels).mean())

    low, high = float(np.log(COLDEST)), float(np.log(HOTTEST))
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(LOOKS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = loss(right)
    found, place = min((at_left, left), (at_right, right))
    return float(np.exp(place)), found
