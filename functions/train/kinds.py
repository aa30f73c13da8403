"""What differs between the kinds: how raw inputs become arrays, which network, which batches."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from common.features import encode_rows, encoded_shape, fit_features
from common.pictures import decode_picture
from common.pipelines import Pipeline
from train.fit import Batches
from train.image import ImageBatches, build_image, cached_size, with_mirror
from train.tabular import TabularBatches, build_tabular, members_for

DECODERS = 2


@dataclass(frozen=True)
class Preparation:
    """Fitted preprocessing: `features` goes into the contract; `encode` gives what the network takes."""

    kind: str
    features: dict[str, Any]

    def encode(self, inputs: Sequence[Any]) -> np.ndarray:
        if self.kind == "image":
            return decode_all(inputs, self.features["image_size"])
        return encode_rows(inputs, self.features["columns"])


def decode_all(files: Sequence[bytes], size: int) -> np.ndarray:
    """Picture files -> uint8 (n, size, size, 3), decoded side by side."""
    with ThreadPoolExecutor(DECODERS) as pool:
        return np.stack(list(pool.map(lambda file: decode_picture(file, size), files)))


def prepare(pipeline: Pipeline, train_inputs: Sequence[Any]) -> Preparation:
    """Preprocessing, fitted on the train part alone."""
    if pipeline.kind == "image":
        return Preparation("image", {"image_size": pipeline.train.image_size})
    return Preparation("tabular", {"columns": fit_features(train_inputs, pipeline.input_columns())})


def build(pipeline: Pipeline, preparation: Preparation, examples: int) -> keras.Model:
    """A new network for a train part of so many examples, with outputs logits and embedding."""
    classes = len(pipeline.labels)
    if pipeline.kind == "image":
        return build_image(classes)
    numbers, slots = encoded_shape(preparation.features["columns"])
    return build_tabular(numbers, slots, classes, members_for(examples))


def answering(pipeline: Pipeline, model: keras.Model) -> keras.Model:
    """The fitted network as it will answer."""
    return with_mirror(model, pipeline.train.image_size) if pipeline.kind == "image" else model


def make_batches(pipeline: Pipeline, preparation: Preparation, inputs: Sequence[Any], labels: np.ndarray) -> Batches:
    """The training batches of the train part."""
    classes, seed = len(pipeline.labels), pipeline.train.seed
    if pipeline.kind == "image":
        size = pipeline.train.image_size
        return ImageBatches(decode_all(inputs, cached_size(size)), labels, classes, seed, size)
    return TabularBatches(preparation.encode(inputs), labels, classes, seed)
