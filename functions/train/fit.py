"""Fits a network within the time budget: the epochs are planned from measured steps, the state is kept to resume."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from common.errors import StoreUnavailable
from common.objects import Objects
from train.metrics import accuracy_of, confusion, log_loss

LOG = logging.getLogger("sabueso.train")
CHECKPOINT_S = 20.0
PROBE_STEPS, PROBE_WARM = 8, 2
SPARE = 1.05
WARM_UP = 0.05
LEAST_EPOCHS = 3
TEMPERATURES = np.geomspace(0.4, 4.0, 25)


class Batches(Protocol):
    """What a kind brings to the fit: batches of inputs and soft targets, and the recipe's numbers."""

    epochs: int
    steps: int
    late_share: float  # of the epochs: those whose steps cost as the last one's do
    learning_rate: float
    weight_decay: float
    smoothing: float

    def planned(self, epochs: int) -> None: ...

    def epoch(self, number: int) -> Iterator[tuple[Any, Any]]: ...


def _at_once(call: Callable[[], Any]) -> Any:
    return call()


@dataclass
class Checkpoint:
    """State of a fit in the object store, under jobs/<pipeline>/checkpoints/<fingerprint>/."""

    objects: Objects
    prefix: str
    wait: Callable[[Callable[[], Any]], Any] = _at_once  # what waits for a store that is away
    saved: float = field(default_factory=time.monotonic)

    def load(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """The plan and arrays of an earlier fit, or None."""
        plan, state = (self.wait(partial(self.objects.get, self.prefix + name)) for name in ("plan.json", "state.npz"))
        if plan is None or state is None:
            return None
        with np.load(io.BytesIO(state.body), allow_pickle=False) as arrays:
            return json.loads(plan.body), dict(arrays)

    def save_plan(self, plan: dict[str, Any]) -> None:
        self.wait(lambda: self.objects.put(self.prefix + "plan.json", json.dumps(plan).encode()))

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        self.objects.put(self.prefix + "state.npz", file.getvalue())
        self.saved = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self.saved > CHECKPOINT_S

    def clear(self) -> None:
        for key in list(self.objects.list(self.prefix)):
            self.objects.delete(key)


def predict_both(model: keras.Model, inputs: np.ndarray, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Joined logits (n, classes) and embeddings (n, d) of all inputs, in inference mode."""
    forward = tf.function(lambda part: model(part, training=False), reduce_retracing=True)
    found = [forward(tf.constant(inputs[at : at + size], tf.float32)) for at in range(0, len(inputs), size)]
    return join_members(np.concatenate([one[0].numpy() for one in found])), np.concatenate(
        [one[1].numpy() for one in found]
    )


class Fit:
    """One fit. `run` leaves the model with the best weights by the tune part's accuracy.

    `curve` has a point for each epoch, those of an earlier process too: `epoch`, `time` (ms) and what `on_epoch` hears.
    """

    def __init__(
        self,
        model: keras.Model,
        batches: Batches,
        tune: tuple[np.ndarray, np.ndarray],
        checkpoint: Checkpoint,
        on_epoch: Callable[[int, int, dict[str, float]], None],
    ) -> None:
        self.model, self.batches, self.tune = model, batches, tune
        self.checkpoint, self.on_epoch = checkpoint, on_epoch
        self.curve: list[dict[str, Any]] = []
        self.optimizer = keras.optimizers.AdamW(batches.learning_rate, weight_decay=batches.weight_decay, clipnorm=1.0)
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "frequencies", "phases", "scales"])
        self.optimizer.build(model.trainable_variables)
        self.step = tf.function(self._step, jit_compile=False)
        self.forward = tf.function(lambda part: model(part, training=False)[0], reduce_retracing=True)

    def run(self, budget_s: float) -> dict[str, Any]:
        """Fit; returns the plan. A stored plan is taken up at the epoch after the stored state."""
        best, start, spent = -1.0, 0, 0.0
        began = time.monotonic()
        stored = self.checkpoint.load()
        if stored is not None:
            plan, arrays = stored
            start, best, spent = int(arrays.pop("epoch")) + 1, float(arrays.pop("best")), float(arrays.pop("spent"))
            # Checkpoints of before have no curve.
            self.curve = json.loads(str(arrays.pop("curve", "[]")))
            self._restore(arrays)
        else:
            plan = {"epochs": self._plan(began + budget_s), "steps": self.batches.steps, "budget_s": budget_s}
            self.checkpoint.save_plan(plan)
            self.best = [np.array(variable) for variable in self.model.variables]
        self.batches.planned(plan["epochs"])
        for epoch in range(start, plan["epochs"]):
            loss = self._epoch(epoch, plan["epochs"], lambda: (spent + time.monotonic() - began) / budget_s)
            tune_loss, tune_accuracy = self._tune()
            # Accuracy on tune, the later epoch at a tie: log loss is lowest long before the answers are best.
            if tune_accuracy >= best:
                best, self.best = tune_accuracy, [np.array(variable) for variable in self.model.variables]
            facts = {"train_loss": loss, "tune_log_loss": tune_loss, "tune_accuracy": tune_accuracy}
            self.curve.append({"epoch": epoch + 1, "time": round(time.time() * 1000), **facts})
            self.on_epoch(epoch + 1, plan["epochs"], facts)
            taken = spent + time.monotonic() - began
            over = taken > budget_s or epoch == plan["epochs"] - 1
            if over or self.checkpoint.due():
                # The last state too: what comes after the fit may have to be taken up as well.
                self._save(self._state(plan["epochs"] - 1 if over else epoch, best, taken))
            if over:
                break
        for variable, value in zip(self.model.variables, self.best, strict=True):
            variable.assign(value)
        return plan

    def _save(self, state: dict[str, np.ndarray]) -> None:
        try:
            self.checkpoint.save(state)
        except StoreUnavailable as error:  # the fit goes on, and tries again when the next one is due
            self.checkpoint.saved = time.monotonic()
            LOG.warning("no checkpoint was written: %s", error.detail)

    def _plan(self, until: float) -> int:
        """Epochs that fit into the time left, by the measured time of steps; weights are put back afterwards."""
        everything = (*self.model.variables, *self.optimizer.variables)
        first = [np.array(variable) for variable in everything]
        self.batches.planned(2)
        late = self.batches.late_share
        step_s = self._step_seconds(0) * (1 - late) + (self._step_seconds(1) * late if late else 0.0)
        self._tune()
        began = time.monotonic()
        self._tune()
        once = time.monotonic() - began
        for variable, value in zip(everything, first, strict=True):
            variable.assign(value)
        fitting = int((until - time.monotonic()) / (step_s * SPARE * self.batches.steps + once))
        return max(LEAST_EPOCHS, min(self.batches.epochs, fitting))

    def _step_seconds(self, epoch: int) -> float:
        """Median seconds of a step of that epoch, the first ones (which compile) left out."""
        taken: list[float] = []
        while len(taken) < PROBE_WARM + PROBE_STEPS:
            began = time.monotonic()
            for inputs, targets in self.batches.epoch(epoch):
                float(self.step(inputs, targets))
                taken.append(time.monotonic() - began)
                began = time.monotonic()
                if len(taken) == PROBE_WARM + PROBE_STEPS:
                    break
        return float(np.median(taken[PROBE_WARM:]))

    def _epoch(self, epoch: int, epochs: int, time_share: Callable[[], float]) -> float:
        losses = []
        for number, (inputs, targets) in enumerate(self.batches.epoch(epoch)):
            share = (epoch * self.batches.steps + number) / (epochs * self.batches.steps)
            self.optimizer.learning_rate.assign(self._rate(share, time_share()))
            losses.append(self.step(inputs, targets))
        return float(np.mean([float(loss) for loss in losses]))

    def _rate(self, share: float, time_share: float) -> float:
        """Linear warm-up over 5 % of the steps, then cosine to zero (Loshchilov & Hutter 2016, arXiv:1608.03983).

        Where the machine became slower than planned, the share of the time spent leads: the rate still comes to zero.
        """
        if share < WARM_UP:
            return self.batches.learning_rate * (0.01 + share / WARM_UP) / 1.01
        decay = (min(1.0, max(share, time_share)) - WARM_UP) / (1 - WARM_UP)
        return self.batches.learning_rate * 0.5 * (1 + float(np.cos(np.pi * max(0.0, decay))))

    def _step(self, inputs: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            logits, _ = self.model(inputs, training=True)
            # Every member learns by itself: their mean is taken only when they answer.
            each = tf.tile(tf.expand_dims(targets, 1), (1, tf.shape(logits)[1], 1))
            losses = keras.losses.categorical_crossentropy(
                each, logits, from_logits=True, label_smoothing=self.batches.smoothing
            )
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self.model.trainable_variables)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return loss

    def _tune(self) -> tuple[float, float]:
        """Log loss of the tune part at its best temperature (it can be set right later), and accuracy."""
        inputs, labels = self.tune
        parts = [self.forward(tf.constant(inputs[at : at + 512], tf.float32)) for at in range(0, len(inputs), 512)]
        logits = join_members(np.concatenate([part.numpy() for part in parts]))
        table = confusion(labels, logits.argmax(axis=1), logits.shape[1])
        return best_temperature(logits, labels)[1], accuracy_of(table)

    def _state(self, epoch: int, best: float, spent: float) -> dict[str, np.ndarray]:
        now = (*self.model.variables, *self.optimizer.variables)
        arrays = {f"now_{number}": np.array(variable) for number, variable in enumerate(now)}
        arrays |= {f"best_{number}": value for number, value in enumerate(self.best)}
        arrays |= {"epoch": np.array(epoch), "best": np.array(best), "spent": np.array(spent)}
        return {**arrays, "curve": np.array(json.dumps(self.curve))}

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        for number, variable in enumerate((*self.model.variables, *self.optimizer.variables)):
            variable.assign(arrays[f"now_{number}"])
        self.best = [arrays[f"best_{number}"] for number in range(len(self.model.variables))]


def join_members(logits: np.ndarray) -> np.ndarray:
    """Logits (n, members, classes) -> logs of the members' mean probabilities (n, classes)."""
    flat = logits.reshape(-1, logits.shape[-1])
    mean = softmax(flat).reshape(logits.shape).mean(axis=1)
    return np.log(np.clip(mean, 1e-12, 1))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The temperature of the lowest log loss, and that log loss (Guo et al. 2017, arXiv:1706.04599), on a grid."""
    losses = [(float(log_loss(softmax(logits, one), labels).mean()), float(one)) for one in TEMPERATURES]
    loss, temperature = min(losses)
    return temperature, loss
