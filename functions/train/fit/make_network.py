"""From the train and tune parts to a fitted network, within the time budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import keras

from common.pipelines import Pipeline
from train.fit.checkpoint import Checkpoint
from train.fit.decoded import decoded_mb
from train.fit.fit import Fit
from train.fit.image_batches import cached_size
from train.fit.kinds import answering, build, make_batches
from train.fit.preparation import Fitted, Part, Preparation, Terms, prepare
from train.fit.pretrained import fit_pretrained

# What comes after the fit needs the rest of the budget; so much the fit has at least, however long it took before.
FIT_SHARE, LEAST_SHARE = 0.92, 0.3


def make_network(
    pipeline: Pipeline,
    train: Part,
    tune: Part,
    budget_s: float,
    checkpoint: Checkpoint,
    scratch: Path,
    on_epoch: Callable[[int, int, dict[str, float]], None],
    on_stage: Callable[[str, float], None] = lambda stage, share: None,
    weights: Path | None = None,
    spent_s: float = 0.0,
    epochs: int | None = None,
) -> Fitted:
    """Preprocessing, network and fit, seeded. `scratch` is the folder where decoded pictures are kept meanwhile.

    `spent_s`: seconds of the budget that are gone already. `epochs`: so many, instead of what fits into the budget;
    the budget still ends them. `weights`: the file that the backbone starts from, if it is not Keras's or its own.
    Raises TrainingFailed if the weights can't be had, or are not those of that backbone.
    """
    left_s = max(budget_s * FIT_SHARE - spent_s, LEAST_SHARE * budget_s)
    terms = Terms(checkpoint, scratch, time.monotonic() + left_s, on_epoch, on_stage, epochs, weights)
    keras.utils.set_random_seed(pipeline.train.seed)
    preparation = prepare(pipeline, train[0], scratch)
    how = fit_pretrained if pipeline.pretrained else _fit_from_nothing
    return how(pipeline, preparation, train, tune, terms)


def _fit_from_nothing(pipeline: Pipeline, preparation: Preparation, train: Part, tune: Part, terms: Terms) -> Fitted:
    inputs, labels = train
    began = time.monotonic()
    if pipeline.kind == "image":
        megabytes = decoded_mb(len(inputs), cached_size(pipeline.train.image_size))
        terms.on_stage(f"decoding pictures: {megabytes:.0f} MB on disk", 0.0)
    model = build(pipeline, preparation, len(inputs))
    batches = make_batches(pipeline, preparation, inputs, labels)
    terms.on_stage("planning epochs", 0.0)
    encoded = preparation.encode(tune[0]), tune[1]
    fit = Fit(model, batches, encoded, terms.checkpoint, terms.on_epoch)
    left = max(terms.until - time.monotonic(), LEAST_SHARE * (terms.until - began))
    plan = fit.run(left, terms.epochs)
    answers = answering(pipeline, model, preparation, encoded)
    return Fitted(answers, preparation, {**plan, "members": answers.outputs[0].shape[1]}, fit.curve)
