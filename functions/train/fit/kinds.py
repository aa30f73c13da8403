"""What differs between the kinds that learn from nothing: which network, which batches, what answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from common.features import encoded_shape
from common.pictures import square_view
from common.pipelines import Pipeline
from train.fit.decoded import decode_all
from train.fit.fit import Batches, predict_members
from train.fit.heat import with_heat
from train.fit.image_batches import ImageBatches, cached_size
from train.fit.members import fewest_members
from train.fit.plain_tabular import plain_tabular
from train.fit.preparation import Preparation
from train.fit.residual import build_residual
from train.fit.tabular import TabularBatches, build_tabular, members_for, width_for


def build(pipeline: Pipeline, preparation: Preparation, examples: int) -> keras.Model:
    """A new network for a train part of so many examples, with outputs logits and embedding."""
    classes = len(pipeline.labels)
    if pipeline.kind == "image":
        return build_residual(classes)
    numbers, slots = encoded_shape(preparation.features["columns"])
    return build_tabular(numbers, slots, classes, members_for(examples), width_for(examples))


def make_batches(pipeline: Pipeline, preparation: Preparation, inputs: Sequence[Any], labels: np.ndarray) -> Batches:
    """The training batches of the train part."""
    classes, seed = len(pipeline.labels), pipeline.train.seed
    if pipeline.kind == "image":
        size = pipeline.train.image_size
        crops = decode_all(inputs, square_view(cached_size(size)), preparation.folder)
        return ImageBatches(crops, labels, classes, seed, size)
    return TabularBatches(preparation.encode(inputs), labels, classes, seed)


def answering(
    pipeline: Pipeline, model: keras.Model, preparation: Preparation, tune: tuple[np.ndarray, np.ndarray]
) -> keras.Model:
    """The fitted network as it will answer; `tune`: encoded inputs and labels, which choose its members."""
    if pipeline.kind == "image":
        return with_heat(model, pipeline.train.image_size, mirrored=True)
    chosen = fewest_members(predict_members(model, tune[0])[0], tune[1])
    return plain_tabular(model, chosen, encoded_shape(preparation.features["columns"])[1])
