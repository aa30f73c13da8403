"""Exports the fitted network to TFLite, compares it with Keras, and writes golden examples."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.inference.bundle import GOLDEN, NETWORK
from common.inference.network import Network
from train.errors import TrainingFailed
from train.fit.novelty import NearestLabel, NearestRow
from train.fit.preprocessing import Preprocessing
from train.fit.training_loop import chunks

COMPARED_INPUTS, GOLDEN_ROWS, GOLDEN_PICTURES = 64, 16, 4
MAX_DIFFERENCE = 1e-4


def serving_network(model: keras.Model, novelty: NearestLabel | NearestRow, temperature: float) -> keras.Model:
    """Input -> calibrated `probabilities`, `novelty` and, if the model has it, `heat`."""
    logits, embedding, *heat = model.outputs
    mean = keras.ops.mean(keras.ops.softmax(logits, axis=-1), axis=1)
    joined = keras.ops.log(keras.ops.maximum(mean, 1e-12))
    probabilities = keras.layers.Softmax(name="probabilities")(joined / temperature)
    outputs = {
        "probabilities": probabilities,
        "novelty": novelty(model.inputs[0] if isinstance(novelty, NearestRow) else embedding),
    }
    return keras.Model(model.inputs[0], {**outputs, **({"heat": heat[0]} if heat else {})})


def write_network(serving: keras.Model, folder: Path) -> None:
    """Export to TFLite float32, by way of a saved model."""
    with tempfile.TemporaryDirectory() as saved:
        serving.export(saved, verbose=False)
        converted = tf.lite.TFLiteConverter.from_saved_model(saved).convert()
    (folder / NETWORK).write_bytes(converted)


def compare_network(serving: keras.Model, folder: Path, inputs: np.ndarray) -> float:
    """The largest difference between the exported network and Keras. Raises TrainingFailed above 1e-4."""
    compared = inputs[:COMPARED_INPUTS].astype(np.float32)
    forward = tf.function(lambda inputs: serving(inputs, training=False)["probabilities"], reduce_retracing=True)
    expected = np.concatenate([forward(chunk).numpy() for chunk in chunks(compared)])
    answers, novelty = Network(folder / NETWORK).predict(compared)
    difference = float(np.abs(answers - expected).max())
    if not difference <= MAX_DIFFERENCE or not np.isfinite(novelty).all():
        raise TrainingFailed(
            f"the exported network differs from Keras by up to {difference:.6f}; {MAX_DIFFERENCE} is allowed"
        )
    return difference


def write_golden(preprocessing: Preprocessing, folder: Path, raw: list[Any], names: list[str]) -> None:
    """Write golden.npz: raw inputs with the answers that the exported network must give wherever it is loaded.

    `names`: the columns' names, for rows.
    """
    chosen = raw[: GOLDEN_PICTURES if preprocessing.is_image else GOLDEN_ROWS]
    encoded = preprocessing.encode(chosen)
    answers = Network(folder / NETWORK).predict(encoded)[0]
    if preprocessing.is_image:
        arrays = {
            "pixels": encoded,
            "files": np.frombuffer(b"".join(chosen), dtype=np.uint8),
            "lengths": np.array([len(file) for file in chosen], dtype=np.int64),
        }
    else:
        arrays = {"rows": np.array([json.dumps(dict(zip(names, row, strict=True))) for row in chosen])}
    np.savez(folder / GOLDEN, probabilities=answers, **arrays)  # type: ignore[arg-type]
