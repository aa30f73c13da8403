"""Writes the files of a bundle and derives the thresholds and columns of its contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.inference.bundle import NETWORK
from common.inference.contract import CategoryFeature, ContractColumn, RowFeatures, Thresholds
from common.inference.features import encoded_shape
from common.inference.network import Network
from common.pipelines import Pipeline
from train.export.network import compare_network, serving_network, write_golden, write_network
from train.fit.fitted import Fitted
from train.fit.novelty import NearestLabel, NearestRow, nearest_label, nearest_row
from train.fit.preprocessing import Labelled, Preprocessing
from train.fit.training_loop import predict_joined
from train.statistics.calibration import best_temperature, join_members, softmax
from train.statistics.thresholds import novelty_threshold, sure_threshold

# Pictures to fit the novelty layer on; each is decoded and run through the network once more.
NOVELTY_PICTURES = 4000


@dataclass(frozen=True)
class Export:
    """The contract's facts about the exported network. `difference`: its largest difference from Keras."""

    columns: list[ContractColumn]
    temperature: float
    thresholds: Thresholds
    difference: float


def make_bundle(pipeline: Pipeline, fitted: Fitted, train: Labelled, tune: Labelled, folder: Path) -> Export:
    """Write network and golden examples into the folder.

    Novelty is fitted on the train split. Temperature and thresholds come from answers to unseen examples: the tune
    split, and the train split in cross-validation. Raises TrainingFailed if the exported network differs from Keras.
    """
    model, preprocessing = fitted.model, fitted.preprocessing
    inputs = list(train[0])
    encoded_tune, labels = preprocessing.encode(tune[0]), tune[1]
    logits = predict_joined(model, encoded_tune)[0]
    if fitted.unseen:
        logits = np.concatenate([logits, join_members(fitted.unseen.logits[:, None])])
        labels = np.concatenate([labels, fitted.unseen.labels])
    novelty_layer = fitted.novelty or _fit_novelty(pipeline, fitted, train)
    temperature = best_temperature(logits, labels)[0]
    sure, error = sure_threshold(softmax(logits, temperature), labels)
    network = serving_network(model, novelty_layer, temperature)
    write_network(network, folder)
    difference = compare_network(network, folder, encoded_tune)
    novelty = Network(folder / NETWORK).predict(encoded_tune)[1]
    if fitted.unseen:
        novelty = np.concatenate([novelty, fitted.unseen.novelty])
    thresholds = Thresholds(sure=sure, error=error, novelty=novelty_threshold(novelty))
    write_golden(preprocessing, folder, inputs, [column.name for column in pipeline.inputs])
    return Export(_columns(pipeline, preprocessing, inputs), temperature, thresholds, difference)


def _fit_novelty(pipeline: Pipeline, fitted: Fitted, train: Labelled) -> NearestLabel | NearestRow:
    """The novelty layer. Pictures are compared by embedding, rows by the combination of their values."""
    preprocessing = fitted.preprocessing
    if isinstance(preprocessing.features, RowFeatures):
        shape = encoded_shape(preprocessing.features.columns)
        return nearest_row(preprocessing.encode(train[0]), *shape, pipeline.train.seed)
    inputs, labels = _subset(train, NOVELTY_PICTURES, pipeline.train.seed)
    return nearest_label(predict_joined(fitted.model, preprocessing.encode(inputs))[1], labels)


def _subset(examples: Labelled, limit: int, seed: int) -> Labelled:
    inputs, labels = examples
    if len(inputs) <= limit:
        return examples
    chosen = np.sort(np.random.default_rng(seed).permutation(len(inputs))[:limit])
    return [inputs[index] for index in chosen], labels[chosen]


def _columns(pipeline: Pipeline, preprocessing: Preprocessing, inputs: Sequence[Any]) -> list[ContractColumn]:
    """The columns of the pipeline file, with typical values and the known categories."""
    if not isinstance(preprocessing.features, RowFeatures):
        return []
    columns = []
    for index, (column, feature) in enumerate(zip(pipeline.inputs, preprocessing.features.columns, strict=True)):
        examples = _typical_values(column.type, [row[index] for row in inputs])
        known = feature.vocabulary if isinstance(feature, CategoryFeature) else None
        columns.append(ContractColumn(**column.model_dump(), examples=examples, known=known))
    return columns


def _typical_values(column_type: str, values: list[Any]) -> list[Any]:
    """Three values to prefill a form: quartiles, or the most frequent. Chosen per column, so no real row is shown."""
    if column_type == "number":
        return [float(value) for value in np.quantile(values, [0.5, 0.25, 0.75], method="nearest")]
    most_frequent = [value for value, _ in Counter(values).most_common(3)]
    return (most_frequent * 3)[:3]
