"""The well-known small convnet with augmentation: Chollet, "Deep Learning with Python", 2nd edition, chapter 8.

Written from its description: five convolutions, 32-64-128-256-256, with max pooling between them, at 180 x 180; flips,
turns and zooms; dropout 0.5; rmsprop in batches of 32, 100 epochs, the weights of the lowest loss on the tune part.
It gets the same time as ours, and the same faster arithmetic where the processor has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.quality_data import Data
from common.pipelines import Pipeline
from train.fit.decoded import decode_all
from train.fit.image import precision

SIDE, WIDTHS, DROPOUT = 180, (32, 64, 128, 256, 256), 0.5
EPOCHS, BATCH = 100, 32


def build(classes: int, dtype: str) -> keras.Model:
    """Pixels 0..255 (n, 180, 180, 3) -> probabilities (n, classes), float32."""
    inputs = keras.Input((SIDE, SIDE, 3))
    hidden = keras.layers.RandomFlip("horizontal")(inputs)
    hidden = keras.layers.RandomRotation(0.1)(hidden)
    hidden = keras.layers.RandomZoom(0.2)(hidden)
    hidden = keras.layers.Rescaling(1 / 255)(hidden)
    for place, width in enumerate(WIDTHS):
        if place:
            hidden = keras.layers.MaxPooling2D(2, dtype=dtype)(hidden)
        hidden = keras.layers.Conv2D(width, 3, activation="relu", dtype=dtype)(hidden)
    hidden = keras.layers.Dropout(DROPOUT)(keras.layers.Flatten()(hidden))
    # For two labels the book has one sigmoid, which is the same function.
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax", dtype="float32")(hidden))


class WithinBudget(keras.callbacks.Callback):
    """Ends after the last epoch that fits."""

    def __init__(self, until: float, tell: Callable[[str], None]) -> None:
        super().__init__()
        self.until, self.tell = until, tell
        self.began, self.longest = 0.0, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.longest = max(self.longest, time.monotonic() - self.began)
        self.tell(f"epoch {epoch + 1}: tune accuracy {logs['val_accuracy']:.4f}")
        if time.monotonic() + self.longest > self.until:
            self.model.stop_training = True


def fit(
    pipeline: Pipeline, train: Data, tune: Data, began: float, scratch: Path, tell: Callable[[str], None]
) -> tuple[Callable[[list[Any]], np.ndarray], dict[str, Any]]:
    """What predicts, and what is worth telling."""
    keras.utils.set_random_seed(pipeline.train.seed)
    model = build(len(pipeline.labels), precision())
    model.compile("rmsprop", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    budget = WithinBudget(began + pipeline.train.budget_s, tell)
    best = keras.callbacks.EarlyStopping("val_loss", patience=EPOCHS, restore_best_weights=True)  # it ends nothing
    history = model.fit(
        decode_all(train.inputs, SIDE),
        train.labels,
        validation_data=(decode_all(tune.inputs, SIDE), tune.labels),
        epochs=EPOCHS,
        batch_size=BATCH,
        callbacks=[budget, best],
        verbose=0,
    )
    losses = history.history["val_loss"]
    facts = {"epochs": len(losses), "tune_log_loss": float(min(losses))}
    return lambda inputs: model.predict(decode_all(inputs, SIDE), batch_size=BATCH, verbose=0), facts
