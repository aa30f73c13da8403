"""From a network's logits to probabilities that mean what they say. Pure numpy, of the tune part alone."""

from __future__ import annotations

import numpy as np

from train.metrics import log_loss

TEMPERATURES = np.geomspace(0.4, 4.0, 25)


def join_members(logits: np.ndarray) -> np.ndarray:
    """Logits (n, members, classes) -> logs of the members' mean probabilities (n, classes)."""
    flat = logits.reshape(-1, logits.shape[-1])
    mean = softmax(flat).reshape(logits.shape).mean(axis=1)
    return np.log(np.clip(mean, 1e-12, 1))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The temperature of the lowest log loss, and that log loss (Guo et al. 2017, arXiv:1706.04599), on a grid."""
    losses = [(float(log_loss(softmax(logits, one), labels).mean()), float(one)) for one in TEMPERATURES]
    loss, temperature = min(losses)
    return temperature, loss
