"""Which members of an ensemble answer: as few as answer hardly worse than all, since each costs time at every call."""

from __future__ import annotations

import numpy as np

from train.bundle.calibration import softmax
from train.judge.metrics import log_loss

# How much worse their log loss may be on the tune part, as a share of that of all. Their accuracy may not.
LOSS = 0.01
# Fewer tune examples can't tell: those that answer best there are luck for a good part, so all go on answering.
LEAST_TUNE = 500


def fewest_members(logits: np.ndarray, labels: np.ndarray) -> list[int]:
    """The members that answer, from logits (n, members, classes) and labels (n,) of the tune part.

    One after another the member that lowers the log loss of the mean most, until the mean is hardly worse than that
    of all: the greedy selection of TabM (Gorishniy et al. 2024, arXiv:2410.24210).
    """
    members = logits.shape[1]
    if len(labels) < LEAST_TUNE:
        return list(range(members))
    shares = softmax(logits)
    of_all, right = _scores(shares.mean(axis=1), labels)
    chosen: list[int] = []
    while len(chosen) < members:
        rest = [one for one in range(members) if one not in chosen]
        scores = {one: _scores(shares[:, [*chosen, one]].mean(axis=1), labels) for one in rest}
        best = min(rest, key=lambda one: scores[one][0])
        chosen.append(best)
        if scores[best][0] <= of_all * (1 + LOSS) and scores[best][1] >= right:
            break
    return sorted(chosen)


def _scores(shares: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Log loss, and the share of answers that are right."""
    return float(log_loss(shares, labels).mean()), float((shares.argmax(axis=1) == labels).mean())
