"""From the train and tune parts to a fitted network, within the time budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from common.pipelines import Pipeline
from train.fit.checkpoint import Checkpoint
from train.fit.decoded import decoded_mb
from train.fit.fit import Fit
from train.fit.image import cached_size
from train.fit.kinds import Preparation, answering, build, learns_first, make_batches, prepare

Part = tuple[Sequence[Any], np.ndarray]
# What comes after the fit needs the rest of the budget; so much the fit has at least, however long it took before.
FIT_SHARE, LEAST_SHARE = 0.92, 0.3


@dataclass(frozen=True)
class Fitted:
    """`model` as it answers: inputs -> logits (n, members, classes) and embedding (n, d). `curve`: a point an epoch."""

    model: keras.Model
    preparation: Preparation
    plan: dict[str, Any]
    curve: list[dict[str, Any]]


def make_network(
    pipeline: Pipeline,
    train: Part,
    tune: Part,
    budget_s: float,
    checkpoint: Checkpoint,
    scratch: Path,
    on_epoch: Callable[[int, int, dict[str, float]], None],
    on_stage: Callable[[str], None] = lambda stage: None,
    weights: Path | None = None,
    spent_s: float = 0.0,
    epochs: int | None = None,
) -> Fitted:
    """Preprocessing, network and fit, seeded. `scratch` is the folder where decoded pictures are kept meanwhile.

    `spent_s`: seconds of the budget that are gone already. `epochs`: so many, instead of what fits into the budget;
    the budget still ends them. `weights`: the file that the backbone starts from.
    Raises TrainingFailed if it is not one of that backbone.
    """
    began = time.monotonic() - spent_s
    keras.utils.set_random_seed(pipeline.train.seed)
    inputs, labels = train
    if pipeline.kind == "image":
        on_stage(f"decoding pictures: {decoded_mb(len(inputs), cached_size(pipeline.train.image_size)):.0f} MB on disk")
    preparation = prepare(pipeline, inputs, scratch)
    model = build(pipeline, preparation, len(inputs), weights)
    batches = make_batches(pipeline, preparation, inputs, labels)
    on_stage("planning epochs")
    encoded = preparation.encode(tune[0]), tune[1]
    fit = Fit(model, batches, encoded, checkpoint, on_epoch, learns_first(pipeline, model))
    left = max(budget_s * FIT_SHARE - (time.monotonic() - began), LEAST_SHARE * budget_s)
    plan = fit.run(left, epochs)
    answers = answering(pipeline, model, preparation, encoded)
    return Fitted(answers, preparation, {**plan, "members": answers.outputs[0].shape[1]}, fit.curve)
