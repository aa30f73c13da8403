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
from train.calibration import softmax
from train.fit import predict_both
from train.kinds import Preparation

COMPARED, GOLDEN_COUNT, GOLDEN_PICTURES = 64, 16, 4
APART = 1e-4
SHRINKAGE = 0.1
NOVEL_SHARE = 0.005


@keras.saving.register_keras_serializable("sabueso")
class Novelty(keras.layers.Layer):
    """Embedding (n, d) -> (n,): Mahalanobis distance to the nearest label mean (Lee et al. 2018, arXiv:1807.03888)."""

    def __init__(self, means: np.ndarray, whitening: np.ndarray) -> None:
        super().__init__()
        self.means = (means @ whitening).astype(np.float32)
        self.whitening = whitening.astype(np.float32)

    def call(self, embedding: Any) -> Any:
        flat = keras.ops.matmul(embedding, self.whitening)
        apart = keras.ops.expand_dims(flat, 1) - self.means
        return keras.ops.sqrt(keras.ops.min(keras.ops.sum(apart * apart, axis=-1), axis=1))


def fit_novelty(embeddings: np.ndarray, labels: np.ndarray) -> Novelty:
    """The layer, from the train part's embeddings: label means and one shrunk covariance within labels."""
    present = np.unique(labels)
    means = np.stack([embeddings[labels == label].mean(axis=0) for label in present])
    within = embeddings - means[np.searchsorted(present, labels)]
    covariance = within.T @ within / len(within)
    level = np.trace(covariance) / len(covariance) + 1e-8
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * level * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(shrunk)
    return Novelty(means, vectors / np.sqrt(values))


def sure_threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The confidence from which answers on the tune part err at most half as often as all do (and 2 % is enough)."""
    order = np.argsort(-probabilities.max(axis=1))
    confidence = probabilities.max(axis=1)[order]
    wrong = (probabilities.argmax(axis=1) != labels)[order]
    rate = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    allowed = max(0.5 * wrong.mean(), 0.02)
    good = np.flatnonzero(rate <= allowed)
    return float(confidence[good[-1]]) if len(good) else 1.0


def serving_network(model: keras.Model, novelty: Novelty, temperature: float) -> keras.Model:
    """Input -> `probabilities` at the temperature and `novelty`."""
    logits, embedding = model.outputs
    mean = keras.ops.mean(keras.ops.softmax(logits, axis=-1), axis=1)
    joined = keras.ops.log(keras.ops.maximum(mean, 1e-12))
    probabilities = keras.layers.Softmax(name="probabilities")(joined / temperature)
    return keras.Model(model.inputs[0], {"probabilities": probabilities, "novelty": novelty(embedding)})


def write_network(serving: keras.Model, folder: Path) -> None:
    """Export to TFLite float32 through a saved model."""
    with tempfile.TemporaryDirectory() as saved:
        serving.export(saved, verbose=False)
        converted = tf.lite.TFLiteConverter.from_saved_model(saved).convert()
    (folder / NETWORK).write_bytes(converted)


def compare_network(serving: keras.Model, folder: Path, inputs: np.ndarray) -> float:
    """Largest difference between the exported network and Keras. Raises TrainingFailed above 1e-4."""
    part = inputs[:COMPARED].astype(np.float32)
    wanted = serving(part, training=False)["probabilities"].numpy()
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


def calibrate(
    model: keras.Model, novelty: Novelty, inputs: np.ndarray, labels: np.ndarray, temperature: float
) -> dict[str, float]:
    """The thresholds of `status`, from the tune part alone."""
    logits, embeddings = predict_both(model, inputs)
    far = np.asarray(novelty(embeddings))
    return {
        "sure": sure_threshold(softmax(logits, temperature), labels),
        "novelty": float(np.quantile(far, 1 - NOVEL_SHARE)) * 1.05,
    }
