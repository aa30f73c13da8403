"""From a network's logits to probabilities that mean what they say. Pure numpy."""

from __future__ import annotations

import numpy as np

from train.judge.metrics import log_loss

COLDEST, HOTTEST, LOOKS = 0.25, 4096.0, 26
LEAST = 1e-7
GOLDEN = (5**0.5 - 1) / 2


def join_members(logits: np.ndarray) -> np.ndarray:
    """Logits (n, members, classes) -> logs of the members' mean probabilities (n, classes)."""
    return np.log(np.clip(softmax(logits).mean(axis=1), 1e-12, 1))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def best_temperature(logits: np.ndarray, labels: np.ndarray, offset: np.ndarray | float = 0.0) -> tuple[float, float]:
    """The temperature of the lowest log loss, and that log loss (Guo et al. 2017, arXiv:1706.04599).

    `offset` is added to the logits after they are divided. By golden section on the temperature's logarithm, to half a
    percent: the loss has one minimum (it is convex in 1 / temperature). Labels are smoothed by 1 / (n + 2) while it is
    looked for (Platt 1999): few examples that are all answered right must not make the next answer a certainty.
    """
    count, classes = logits.shape
    smoothing = 1 / (count + 2)

    def loss(place: float) -> float:
        logs = np.log(np.clip(softmax(logits / np.exp(place) + offset), LEAST, 1))
        right = logs[np.arange(count), labels]
        others = (logs.sum(axis=1) - right) / (classes - 1)
        return -float(((1 - smoothing) * right + smoothing * others).mean())

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
    temperature = float(np.exp(left if at_left <= at_right else right))
    return temperature, float(log_loss(softmax(logits / temperature + offset), labels).mean())
