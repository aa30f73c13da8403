"""Fits a network from scratch. Rows and pictures differ in network, batches and exported form."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from common.inference.contract import Feature, RowFeatures
from common.inference.features import encoded_shape
from common.inference.pictures import square_view
from common.pipelines import Pipeline
from train.fit.decoded_pictures import decode_all, decoded_mb
from train.fit.fitted import MIN_SHARE, FitOptions, Fitted
from train.fit.folded_tabular import fold_tabular
from train.fit.heatmap import with_heat
from train.fit.image_batches import ImageBatches, cached_size
from train.fit.member_selection import fewest_members
from train.fit.preprocessing import Labelled, Preprocessing
from train.fit.residual import build_residual
from train.fit.tabular import TabularBatches, build_tabular, members_for, width_for
from train.fit.training_loop import Batches, Fit, predict_members


def fit_from_scratch(
    pipeline: Pipeline, preprocessing: Preprocessing, train: Labelled, tune: Labelled, options: FitOptions
) -> Fitted:
    """Fit all of the network, for as many epochs as there is time."""
    inputs, labels = train
    began = time.monotonic()
    if pipeline.kind == "image":
        megabytes = decoded_mb(len(inputs), cached_size(pipeline.image_size))
        options.on_stage(f"decoding pictures: {megabytes:.0f} MB on disk", 0.0)
    model = _build_network(pipeline, preprocessing, len(inputs))
    batches = _make_batches(pipeline, preprocessing, inputs, labels)
    options.on_stage("planning epochs", 0.0)
    encoded_tune = preprocessing.encode(tune[0]), tune[1]
    fit = Fit(model, batches, encoded_tune, options.checkpoint, options.on_epoch)
    remaining_s = max(options.deadline - time.monotonic(), MIN_SHARE * (options.deadline - began))
    plan = fit.run(remaining_s, options.epochs)
    exported = _exported_form(pipeline, model, preprocessing, encoded_tune)
    params = {**plan.model_dump(exclude_none=True), "members": exported.outputs[0].shape[1]}
    return Fitted(exported, preprocessing, params, fit.curve)


def _build_network(pipeline: Pipeline, preprocessing: Preprocessing, examples: int) -> keras.Model:
    """A new network with outputs logits and embedding. `examples`: the size of the train split."""
    classes = len(pipeline.labels)
    if pipeline.kind == "image":
        return build_residual(classes)
    numbers, slots = encoded_shape(_row_features(preprocessing))
    return build_tabular(numbers, slots, classes, members_for(examples), width_for(examples))


def _make_batches(
    pipeline: Pipeline, preprocessing: Preprocessing, inputs: Sequence[Any], labels: np.ndarray
) -> Batches:
    """Batches of the train split."""
    classes, seed = len(pipeline.labels), pipeline.train.seed
    if pipeline.kind == "image":
        size = pipeline.image_size
        crops = decode_all(inputs, square_view(cached_size(size)), preprocessing.folder)
        return ImageBatches(crops, labels, classes, seed, size)
    return TabularBatches(preprocessing.encode(inputs), labels, classes, seed)


def _exported_form(
    pipeline: Pipeline, model: keras.Model, preprocessing: Preprocessing, tune: tuple[np.ndarray, np.ndarray]
) -> keras.Model:
    """The fitted network in the form that is exported. `tune`: encoded inputs and labels to select members with."""
    if pipeline.kind == "image":
        return with_heat(model, pipeline.image_size, mirrored=True)
    chosen = fewest_members(predict_members(model, tune[0])[0], tune[1])
    return fold_tabular(model, chosen, encoded_shape(_row_features(preprocessing))[1])


def _row_features(preprocessing: Preprocessing) -> list[Feature]:
    if not isinstance(preprocessing.features, RowFeatures):
        raise TypeError("pictures have no row features")
    return preprocessing.features.columns
