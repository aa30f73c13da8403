"""Options and result of a fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from common.json_types import Json
from train.fit.checkpoint import Checkpoint
from train.fit.novelty import NearestLabel
from train.fit.preprocessing import Preprocessing

# Share of the budget for the fit; export and evaluation get the rest. If the fit starts late, it still gets MIN_SHARE.
FIT_SHARE, MIN_SHARE = 0.92, 0.3


def fit_deadline(budget_s: float, spent_s: float = 0.0) -> float:
    """When a fit that starts now must end. `spent_s`: seconds of the budget already spent."""
    return time.monotonic() + max(budget_s * FIT_SHARE - spent_s, MIN_SHARE * budget_s)


@dataclass(frozen=True)
class FitOptions:
    """Options of a fit. `deadline`: when it must end, in seconds of time.monotonic.

    `scratch`: the folder for decoded pictures. `epochs`: a fixed number, instead of as many as fit into the time;
    the deadline still ends the fit. `weights`: the file with a backbone's weights, if not the published ones.
    `on_epoch` receives the epoch, the number of epochs and the metrics of the epoch; `on_stage` receives a description
    and the share of the work that is done.
    """

    checkpoint: Checkpoint
    scratch: Path
    deadline: float
    on_epoch: Callable[[int, int, dict[str, float]], None]
    on_stage: Callable[[str, float], None]
    epochs: int | None = None
    weights: Path | None = None


@dataclass(frozen=True)
class Unseen:
    """Answers to examples of the train split by heads fitted without them (cross-validation).

    Logits (n, labels), labels (n,), and novelty (n,) of each example.
    """

    logits: np.ndarray
    labels: np.ndarray
    novelty: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """`model`: inputs -> logits (n, members, classes) and embedding (n, d). `curve`: one point per epoch.

    `params`: the fit's parameters for MLflow. A frozen backbone also returns its novelty layer and the answers of
    cross-validation.
    """

    model: keras.Model
    preprocessing: Preprocessing
    params: dict[str, Json]
    curve: list[dict[str, float]]
    novelty: NearestLabel | None = None
    unseen: Unseen | None = None
