"""What differs between the kinds: how raw inputs become arrays, which network, which batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from common.features import encode_rows, encoded_shape, fit_features
from common.pictures import picture_view, view_features
from common.pipelines import Pipeline
from train.fit.backbones import (
    BackboneBatches,
    WeightedBatches,
    build_backbone,
    fit_precision,
    head_of,
    load_weights,
)
from train.fit.decoded import decode_all
from train.fit.fit import Batches, predict_members
from train.fit.image import CENTRE, ImageBatches, build_image, cached_size, precision, with_heat
from train.fit.members import fewest_members
from train.fit.plain_image import plain_image
from train.fit.plain_tabular import plain_tabular
from train.fit.tabular import TabularBatches, build_tabular, members_for, width_for


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
            size, centre, _ = picture_view(self.features)
            return decode_all(inputs, size, self.folder, centre)
        return encode_rows(inputs, self.features["columns"])


def prepare(pipeline: Pipeline, train_inputs: Sequence[Any], folder: Path | None = None) -> Preparation:
    """Preprocessing, fitted on the train part alone."""
    if pipeline.kind == "image":
        return Preparation("image", view_features(pipeline.train.image_size, CENTRE), folder)
    return Preparation("tabular", {"columns": fit_features(train_inputs, pipeline.input_columns())})


def build(pipeline: Pipeline, preparation: Preparation, examples: int, weights: Path | None = None) -> keras.Model:
    """A new network for a train part of so many examples, with outputs logits and embedding.

    `weights`: the file of the pipeline's weights, which must be given if it has any. Raises TrainingFailed if they are
    not of its backbone.
    """
    classes, backbone = len(pipeline.labels), pipeline.train.backbone
    if backbone:
        model = _with_backbone(pipeline, fit_precision(backbone))
        if pipeline.train.weights is not None:
            if weights is None:
                raise ValueError("the file of the pipeline's weights is missing")
            load_weights(model, weights, backbone)
        return model
    if pipeline.kind == "image":
        return build_image(classes, precision())
    numbers, slots = encoded_shape(preparation.features["columns"])
    return build_tabular(numbers, slots, classes, members_for(examples), width_for(examples))


def _with_backbone(pipeline: Pipeline, dtype: str) -> keras.Model:
    train = pipeline.train
    return build_backbone(train.backbone, len(pipeline.labels), train.image_size, train.weights is not None, dtype)


def learns_first(pipeline: Pipeline, model: keras.Model) -> list[Any]:
    """The variables that learn before all others do: the head of a backbone whose weights were given."""
    return [] if pipeline.train.weights is None else head_of(model)


def answering(
    pipeline: Pipeline, model: keras.Model, preparation: Preparation, tune: tuple[np.ndarray, np.ndarray]
) -> keras.Model:
    """The fitted network as it will answer, in float32; `tune`: encoded inputs and labels, which choose its members."""
    if pipeline.kind != "image":
        chosen = fewest_members(predict_members(model, tune[0])[0], tune[1])
        return plain_tabular(model, chosen, encoded_shape(preparation.features["columns"])[1])
    side = pipeline.train.image_size
    if not pipeline.train.backbone:  # answers a mirror image as it does the picture
        return with_heat(plain_image(model, side), side, mirrored=False)
    whole = _with_backbone(pipeline, "float32")
    whole.set_weights(model.get_weights())
    # Its second look pays about a point of accuracy.
    return with_heat(whole, side, mirrored=True)


def make_batches(pipeline: Pipeline, preparation: Preparation, inputs: Sequence[Any], labels: np.ndarray) -> Batches:
    """The training batches of the train part."""
    classes, seed = len(pipeline.labels), pipeline.train.seed
    if pipeline.kind == "image":
        size = pipeline.train.image_size
        recipe = ImageBatches
        if pipeline.train.backbone:
            recipe = BackboneBatches if pipeline.train.weights is None else WeightedBatches
        return recipe(decode_all(inputs, cached_size(size), preparation.folder), labels, classes, seed, size)
    return TabularBatches(preparation.encode(inputs), labels, classes, seed)
