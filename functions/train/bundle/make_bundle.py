"""From a fitted network to the files of a bundle and its contract, all but the holdout's metrics and the signature."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from common.bundle import NETWORK
from common.features import encoded_shape
from common.network import Network
from common.pipelines import Pipeline
from train.bundle.calibration import best_temperature, join_members, softmax
from train.bundle.export import compare_network, serving_network, write_golden, write_network
from train.bundle.novelty import NearestLabel, NearestRow, nearest_label, nearest_row
from train.bundle.thresholds import novelty_threshold, sure_threshold
from train.fit.fit import predict_both
from train.fit.preparation import Fitted, Part, Preparation
from train.snapshot import FRACTIONS, SALT

# So many of the train part tell what is far from it: each is decoded and answered once more, after the fit.
PICTURES = 4000


def make_bundle(
    pipeline: Pipeline, fitted: Fitted, train: Part, tune: Part, folder: Path
) -> tuple[dict[str, Any], float]:
    """Write network and golden examples into the folder; the contract, and how far the export is from Keras.

    Novelty comes from the train part; temperature and thresholds from answers to examples that the network that gives
    them has not seen: the tune part, and the train part in cross-validation. Raises TrainingFailed if the exported
    network does not answer as Keras does.
    """
    model, preparation = fitted.model, fitted.preparation
    inputs = train[0]
    encoded, tune_labels = preparation.encode(tune[0]), tune[1]
    logits, labels = predict_both(model, encoded)[0], tune_labels
    if fitted.unseen:
        logits = np.concatenate([logits, join_members(fitted.unseen.logits[:, None])])
        labels = np.concatenate([labels, fitted.unseen.labels])
    novelty = fitted.novelty or _novelty(pipeline, fitted, train)
    temperature = best_temperature(logits, labels)[0]
    sure, error = sure_threshold(softmax(logits, temperature), labels)
    network = serving_network(model, novelty, temperature)
    write_network(network, folder)
    apart = compare_network(network, folder, encoded)
    distances = Network(folder / NETWORK).predict(encoded)[1]
    if fitted.unseen:
        distances = np.concatenate([distances, fitted.unseen.distances])
    farthest = novelty_threshold(distances)
    write_golden(preparation, folder, list(inputs), pipeline.input_columns())
    contract = {
        "pipeline": pipeline.name,
        "kind": pipeline.kind,
        "title": pipeline.title,
        "labels": [label.as_dict() for label in pipeline.labels],
        "target": pipeline.target,
        "columns": _columns(pipeline, preparation, list(inputs)),
        "features": preparation.features,
        "split": {"salt": SALT, "fractions": list(FRACTIONS)},
        "temperature": temperature,
        "thresholds": {"sure": sure, "error": error, "novelty": farthest},
    }
    return contract, apart


def _novelty(pipeline: Pipeline, fitted: Fitted, train: Part) -> NearestLabel | NearestRow:
    """Pictures are compared by their embedding, rows by their columns: whether these occur together matters most."""
    preparation = fitted.preparation
    if preparation.kind == "image":
        inputs, labels = _some(train, PICTURES, pipeline.train.seed)
        encoded = preparation.encode(inputs)
        return nearest_label(predict_both(fitted.model, encoded)[1], labels)
    encoded = preparation.encode(train[0])
    return nearest_row(encoded, *encoded_shape(preparation.features["columns"]), pipeline.train.seed)


def _some(part: Part, most: int, seed: int) -> Part:
    inputs, labels = part
    if len(inputs) <= most:
        return part
    chosen = np.sort(np.random.default_rng(seed).permutation(len(inputs))[:most])
    return [inputs[place] for place in chosen], labels[chosen]


def _columns(pipeline: Pipeline, preparation: Preparation, inputs: list[Any]) -> list[dict[str, Any]]:
    """The contract's columns: those of the pipeline file, with typical values and the categories seen."""
    found = []
    for place, column in enumerate(pipeline.input_columns()):
        values = [row[place] for row in inputs]
        seen = {**column, "examples": _typical(column["type"], values)}
        if column["type"] == "category":
            seen["known"] = preparation.features["columns"][place]["vocabulary"]
        found.append(seen)
    return found


def _typical(kind: str, values: list[Any]) -> list[Any]:
    """Three values for a form to begin with: quartiles or the commonest. Column by column, so no one's row is shown."""
    if kind == "number":
        return [float(value) for value in np.quantile(values, [0.5, 0.25, 0.75], method="nearest")]
    common = [value for value, _ in Counter(values).most_common(3)]
    return (common * 3)[:3]
