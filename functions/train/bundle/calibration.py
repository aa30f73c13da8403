"""From a network's logits to probabilities that mean what they say. Pure numpy, of the tune part alone."""

from __future__ import annotations

import numpy as np

from train.judge.metrics import log_loss

COLDEST, HOTTEST, LOOKS = 0.25, 8.0, 16
# Of the logarithm of a temperature: how far tasks are from what their recipe mostly comes to.
SPREAD = 0.2
GOLDEN = (5**0.5 - 1) / 2


def join_members(logits: np.ndarray) -> np.ndarray:
    """Logits (n, members, classes) -> logs of the members' mean probabilities (n, classes)."""
    flat = logits.reshape(-1, logits.shape[-1])
    mean = softmax(flat).reshape(logits.shape).mean(axis=1)
    return np.log(np.clip(mean, 1e-12, 1))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def best_temperature(logits: np.ndarray, labels: np.ndarray, usual: float | None = None) -> tuple[float, float]:
    """The temperature of the lowest log loss, and that log loss (Guo et al. 2017, arXiv:1706.04599).

    By golden section on its logarithm, to half a percent: the loss has one minimum (it is convex in 1 / temperature).
    `usual`: what the recipe mostly comes to. It is then the most likely one, if the logarithm is normal around that one
    with SPREAD: 150 examples of two labels alone tell it to a sixth, and a dozen that are all right not at all.
    """

    def loss(place: float) -> float:
        apart = 0.0 if usual is None else (place - float(np.log(usual))) / SPREAD
        return float(log_loss(softmax(logits, float(np.exp(place))), labels).mean()) + apart**2 / 2 / len(labels)

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
    temperature = float(np.exp(min((at_left, left), (at_right, right))[1]))
    return temperature, float(log_loss(softmax(logits, temperature), labels).mean())
