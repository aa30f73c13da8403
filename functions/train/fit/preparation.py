"""What every fit begins with and ends in: preprocessing, and the fitted network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from common.features import encode_rows, fit_features
from common.pictures import picture_view, square_view, view_features
from common.pipelines import Pipeline
from train.bundle.novelty import NearestLabel
from train.fit.checkpoint import Checkpoint
from train.fit.decoded import decode_all

# Of the square in the middle, where a network learns from crops alone: things are then about as large as in those
# (Touvron et al. 2019, arXiv:1906.06423).
CENTRE = 7 / 8
Part = tuple[Sequence[Any], np.ndarray]


@dataclass(frozen=True)
class Preparation:
    """Fitted preprocessing: `features` goes into the contract; `encode` gives what the network takes.

    With `folder`, decoded pictures stand there in files mapped into memory.
    """

    kind: str
    features: dict[str, Any]
    folder: Path | None = None

    def encode(self, inputs: Sequence[Any]) -> np.ndarray:
        """Raw inputs -> (n, width) float32 of rows, or (n, side, side, 3) uint8 of pictures."""
        if self.kind == "image":
            return decode_all(inputs, picture_view(self.features), self.folder)
        return encode_rows(inputs, self.features["columns"])


def prepare(pipeline: Pipeline, train_inputs: Sequence[Any], folder: Path | None = None) -> Preparation:
    """Preprocessing, fitted on the train part alone."""
    if pipeline.kind == "image":
        view = square_view(pipeline.train.image_size, 1.0 if pipeline.pretrained else CENTRE)
        return Preparation("image", view_features(view), folder)
    return Preparation("tabular", {"columns": fit_features(train_inputs, pipeline.input_columns())})


@dataclass(frozen=True)
class Terms:
    """What a fit is given beside its data. `until`: by when it ends, in seconds of time.monotonic.

    `scratch`: the folder of what it keeps meanwhile.
    `epochs`: so many, instead of what fits into the time. `weights`: the file that a backbone starts from.
    `on_epoch` is called with the epoch, their number and its figures, `on_stage` with words and the share that is done.
    """

    checkpoint: Checkpoint
    scratch: Path
    until: float
    on_epoch: Callable[[int, int, dict[str, float]], None]
    on_stage: Callable[[str, float], None]
    epochs: int | None = None
    weights: Path | None = None


@dataclass(frozen=True)
class Unseen:
    """How train examples are answered by networks that have not seen them (cross-validation).

    Logits (n, labels), labels (n,), and how far each is from what that network has seen (n,).
    """

    logits: np.ndarray
    labels: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """`model` as it answers: inputs -> logits (n, members, classes) and embedding (n, d). `curve`: a point an epoch.

    A frozen network brings its novelty along, and what cross-validation found.
    """

    model: keras.Model
    preparation: Preparation
    plan: dict[str, Any]
    curve: list[dict[str, Any]]
    novelty: NearestLabel | None = None
    unseen: Unseen | None = None
