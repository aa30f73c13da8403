"""Turns a network's logits into calibrated probabilities. Pure numpy."""

from __future__ import annotations

import numpy as np

from train.statistics.metrics import log_loss

MIN_TEMPERATURE, MAX_TEMPERATURE, ITERATIONS = 0.25, 4096.0, 26
MIN_PROBABILITY = 1e-7
GOLDEN_RATIO = (5**0.5 - 1) / 2


def join_members(logits: np.ndarray) -> np.ndarray:
    """Logits (n, members, classes) -> log of the members' mean probabilities (n, classes)."""
    return np.log(np.clip(softmax(logits).mean(axis=1), 1e-12, 1))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def best_temperature(logits: np.ndarray, labels: np.ndarray, offset: np.ndarray | float = 0.0) -> tuple[float, float]:
    """The temperature with the lowest log loss, and that log loss (Guo et al. 2017, arXiv:1706.04599).

    `offset` is added to the logits after the division. Golden-section search over the logarithm of the temperature,
    accurate to half a percent: the loss is convex in 1 / temperature, so it has one minimum. During the search labels
    are smoothed by 1 / (n + 2) (Platt 1999): a few correct answers must not lead to probabilities of 1.
    """
    count, classes = logits.shape
    smoothing = 1 / (count + 2)

    def smoothed_loss(log_temperature: float) -> float:
        logs = np.log(np.clip(softmax(logits / np.exp(log_temperature) + offset), MIN_PROBABILITY, 1))
        of_label = logs[np.arange(count), labels]
        of_others = (logs.sum(axis=1) - of_label) / (classes - 1)
        return -float(((1 - smoothing) * of_label + smoothing * of_others).mean())

    low, high = float(np.log(MIN_TEMPERATURE)), float(np.log(MAX_TEMPERATURE))
    left, right = high - GOLDEN_RATIO * (high - low), low + GOLDEN_RATIO * (high - low)
    left_loss, right_loss = smoothed_loss(left), smoothed_loss(right)
    for _ in range(ITERATIONS):
        if left_loss <= right_loss:
            high, right, right_loss = right, left, left_loss
            left = high - GOLDEN_RATIO * (high - low)
            left_loss = smoothed_loss(left)
        else:
            low, left, left_loss = left, right, right_loss
            right = low + GOLDEN_RATIO * (high - low)
            right_loss = smoothed_loss(right)
    temperature = float(np.exp(left if left_loss <= right_loss else right))
    return temperature, float(log_loss(softmax(logits / temperature + offset), labels).mean())
