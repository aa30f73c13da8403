"""From a fitted network to a bundle: what serves is exported, compared with Keras, given golden answers, signed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.bundle import GOLDEN, NETWORK
from common.errors import TrainingFailed
from common.network import Network
from train.bundle.novelty import NearestLabel, NearestRow
from train.fit.fit import chunks
from train.fit.preparation import Preparation

COMPARED, GOLDEN_COUNT, GOLDEN_PICTURES = 64, 16, 4
APART = 1e-4


def serving_network(model: keras.Model, novelty: NearestLabel | NearestRow, temperature: float) -> keras.Model:
    """Input -> `probabilities` at the temperature, `novelty` and, if the model has it, `heat`."""
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
    """Export to TFLite float32 through a saved model."""
    with tempfile.TemporaryDirectory() as saved:
        serving.export(saved, verbose=False)
        converted = tf.lite.TFLiteConverter.from_saved_model(saved).convert()
    (folder / NETWORK).write_bytes(converted)


def compare_network(serving: keras.Model, folder: Path, inputs: np.ndarray) -> float:
    """Largest difference between the exported network and Keras. Raises TrainingFailed above 1e-4."""
    part = inputs[:COMPARED].astype(np.float32)
    forward = tf.function(lambda inputs: serving(inputs, training=False)["probabilities"], reduce_retracing=True)
    wanted = np.concatenate([forward(one).numpy() for one in chunks(part)])
    found, novelty = Network(folder / NETWORK).predict(part)
    apart = float(np.abs(found - wanted).max())
    if not apart <= APART or not np.isfinite(novelty).all():
        raise TrainingFailed(f"the exported network answers up to {apart:.6f} apart from Keras; {APART} at most")
    return apart


def write_golden(preparation: Preparation, folder: Path, raw: list[Any], columns: list[dict[str, Any]]) -> None:
    """golden.npz: raw inputs with the exported network's own answers, to be given again wherever it is loaded."""
    chosen = raw[: GOLDEN_PICTURES if preparation.kind == "image" else GOLDEN_COUNT]
    encoded = preparation.encode(chosen)
    answers = Network(folder / NETWORK).predict(encoded)[0]
    if preparation.kind == "image":
        arrays = {
            "pixels": encoded,
            "files": np.frombuffer(b"".join(chosen), dtype=np.uint8),
            "lengths": np.array([len(file) for file in chosen], dtype=np.int64),
        }
    else:
        names = [column["name"] for column in columns]
        arrays = {"rows": np.array([json.dumps(dict(zip(names, row, strict=True))) for row in chosen])}
    np.savez(folder / GOLDEN, probabilities=answers, **arrays)  # type: ignore[arg-type]
