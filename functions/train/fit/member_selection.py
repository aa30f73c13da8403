"""Selects the members of an ensemble to export: as few as possible, since each costs time at every call."""

from __future__ import annotations

import numpy as np

from train.statistics.calibration import softmax
from train.statistics.metrics import log_loss

# How much the log loss on tune may rise, relative to that of all members. Accuracy may not fall.
MAX_LOSS_INCREASE = 0.01
# With fewer tune examples the selection would mostly follow chance, so all members are kept.
MIN_TUNE_EXAMPLES = 500


def fewest_members(logits: np.ndarray, labels: np.ndarray) -> list[int]:
    """The members to keep, from logits (n, members, classes) and labels (n,) of the tune split.

    Adds the member that lowers the log loss of the mean most, until the mean is nearly as good as that of all members:
    the greedy selection of TabM (Gorishniy et al. 2024, arXiv:2410.24210).
    """
    members = logits.shape[1]
    if len(labels) < MIN_TUNE_EXAMPLES:
        return list(range(members))
    probabilities = softmax(logits)
    loss_of_all, accuracy_of_all = _scores(probabilities.mean(axis=1), labels)
    chosen: list[int] = []
    while len(chosen) < members:
        candidates = [member for member in range(members) if member not in chosen]
        scores = {member: _scores(probabilities[:, [*chosen, member]].mean(axis=1), labels) for member in candidates}
        best = min(candidates, key=lambda member: scores[member][0])
        chosen.append(best)
        loss, accuracy = scores[best]
        if loss <= loss_of_all * (1 + MAX_LOSS_INCREASE) and accuracy >= accuracy_of_all:
            break
    return sorted(chosen)


def _scores(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Log loss and accuracy."""
    return float(log_loss(probabilities, labels).mean()), float((probabilities.argmax(axis=1) == labels).mean())
