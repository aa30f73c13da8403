"""Fits a network within the time budget: the epochs are planned from measured steps, the state is kept to resume."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from common.errors import StoreUnavailable
from train.bundle.calibration import best_temperature, join_members
from train.fit.checkpoint import Checkpoint
from train.fit.optimizers import make_optimizer

LOG = logging.getLogger("sabueso.train")
# Steps that are measured for a plan: so many, and so long, as a share of the time; the first ones compile.
PROBE_STEPS, PROBE_SHARE, PROBE_WARM = 9, 0.01, 3
WARM_UP = 0.05
LEAST_EPOCHS = 3
# At least so much of the time budget is for the epochs, however long measuring took: the first steps compile.
EPOCHS_SHARE = 0.5
# What a plan tells beside its epochs.
RECIPE = ("size", "optimizer", "learning_rate", "weight_decay", "smoothing")
# Of the averaged weights, a step: they go back over the last hundred steps.
DECAY = 0.99


class Batches(Protocol):
    """What a kind brings to the fit: batches of inputs and soft targets, and the recipe's numbers."""

    size: int  # of a batch
    epochs: int
    steps: int
    late_share: float  # of the epochs: those whose steps cost as the last one's do
    optimizer: str  # muon | adamw
    learning_rate: float
    weight_decay: float
    smoothing: float

    def planned(self, epochs: int) -> None: ...

    def epoch(self, number: int) -> Iterator[tuple[Any, Any]]: ...


def predict_members(model: keras.Model, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, members, classes) and embeddings (n, d) of all inputs, in inference mode."""
    forward = tf.function(lambda part: model(part, training=False)[:2], reduce_retracing=True)
    found = [forward(part) for part in chunks(inputs)]
    return np.concatenate([one[0].numpy() for one in found]), np.concatenate([one[1].numpy() for one in found])


def chunks(inputs: np.ndarray) -> Iterator[Any]:
    """As tensors of bounded memory: what a network keeps of a picture is a thousand times what it keeps of a row."""
    size = 32 if inputs.ndim == 4 else 512
    for at in range(0, len(inputs), size):
        yield tf.constant(inputs[at : at + size], tf.float32)


def predict_both(model: keras.Model, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joined logits (n, classes) and embeddings (n, d) of all inputs, in inference mode."""
    logits, embeddings = predict_members(model, inputs)
    return join_members(logits), embeddings


class Fit:
    """One fit. `run` leaves the model with its averaged weights: the last ones, or the best by the tune part.

    Weights are averaged over the steps (Polyak & Juditsky 1992; as an exponential mean). The last ones are taken unless
    they answer worse than the best by more than one standard error of the tune part's accuracy (the one-standard-error
    rule of Breiman et al. 1984): the tune part is small, and the best of many looks at it is luck for a good part.
    `curve` has a point for each epoch, those of an earlier process too: `epoch`, `time` (ms) and what `on_epoch` hears.
    The model's trainable variables learn; gradients stop at the first layer that has any.
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
        self.optimizer = make_optimizer(batches.optimizer, batches.learning_rate, batches.weight_decay)
        self.optimizer.build(model.trainable_variables)
        self.averaged = [tf.Variable(one, trainable=False) for one in model.variables]
        self.step = tf.function(self._step)
        self.forward = tf.function(lambda part: model(part, training=False)[0], reduce_retracing=True)

    def run(self, budget_s: float, epochs: int | None = None) -> dict[str, Any]:
        """Fit; returns the plan. A stored plan is repeated, a stored state is taken up at the epoch after it.

        A new plan has `epochs` epochs, or as many as fit into the budget.
        """
        best, start, spent = -1.0, 0, 0.0
        began = time.monotonic()
        plan, arrays = self.checkpoint.plan(), self._stored()
        if plan is not None and arrays is not None:
            start, best, spent = int(arrays["epoch"]) + 1, float(arrays["best"]), float(arrays["spent"])
            self.curve = json.loads(str(arrays["curve"]))
            self._restore(arrays)
        else:
            if plan is None:
                plan = self._plan(began, budget_s, epochs)
                self.checkpoint.save_plan(plan)
            self.best = [np.array(one) for one in self.averaged]
        budget_s, measured_s = plan.get("budget_s", budget_s), plan.get("measured_s", 0.0)

        def time_share() -> float:  # of the epochs' time
            return (spent + time.monotonic() - began - measured_s) / (budget_s - measured_s)

        epochs = plan["epochs"]
        self.batches.planned(epochs)
        for epoch in range(start, epochs):
            loss = self._epoch(epoch, epochs, time_share)
            tune_loss, tune_accuracy = self._tune()
            # Accuracy on tune, the later epoch at a tie: log loss is lowest long before the answers are best.
            if tune_accuracy >= best:
                best, self.best = tune_accuracy, [np.array(one) for one in self.averaged]
            facts = {"train_loss": loss, "tune_log_loss": tune_loss, "tune_accuracy": tune_accuracy}
            self.curve.append({"epoch": epoch + 1, "time": round(time.time() * 1000), **facts})
            self.on_epoch(epoch + 1, epochs, facts)
            taken = spent + time.monotonic() - began
            over = taken > budget_s or epoch == epochs - 1
            if over or self.checkpoint.due():
                # The last state too: what comes after the fit may have to be taken up as well.
                self._save(self._state(epochs - 1 if over else epoch, best, taken))
            if over:
                break
        allowed = np.sqrt(best * (1 - best) / len(self.tune[1]))
        chosen = self.averaged if self.curve[-1]["tune_accuracy"] >= best - allowed else self.best
        for variable, value in zip(self.model.variables, chosen, strict=True):
            variable.assign(value)
        return plan

    def _save(self, state: dict[str, np.ndarray]) -> None:
        try:
            self.checkpoint.save(state)
        except StoreUnavailable as error:  # the fit goes on, and tries again when the next one is due
            self.checkpoint.saved = time.monotonic()
            LOG.warning("no checkpoint was written: %s", error.detail)

    def _plan(self, start: float, budget_s: float, epochs: int | None) -> dict[str, Any]:
        limits = {"epochs": epochs, "budget_s": budget_s} if epochs else self._measured(start, budget_s)
        return limits | {name: getattr(self.batches, name) for name in ("steps", *RECIPE)}

    def _measured(self, start: float, budget_s: float) -> dict[str, Any]:
        """Epochs that fit into the time left, by the measured time of steps; weights are put back afterwards.

        Measuring may take so long that half of the budget is not left; the epochs get so much all the same.
        """
        first = [np.array(variable) for variable in self._kept()]
        self.batches.planned(2)
        late = self.batches.late_share
        least_s = PROBE_SHARE * budget_s
        step_s = self._step_seconds(0, least_s) * (1 - late)
        step_s += self._step_seconds(1, least_s) * late if late else 0.0
        self._tune()
        began = time.monotonic()
        self._tune()
        once = time.monotonic() - began
        for variable, value in zip(self._kept(), first, strict=True):
            variable.assign(value)
        measured_s = round(time.monotonic() - start, 3)
        left_s = max(budget_s - measured_s, EPOCHS_SHARE * budget_s)
        fitting = int(left_s / (step_s * self.batches.steps + once))
        epochs = max(LEAST_EPOCHS, min(self.batches.epochs, fitting))
        spent = {"budget_s": round(measured_s + left_s, 3), "measured_s": measured_s}
        return {"epochs": epochs, "step_ms": round(step_s * 1000, 3), **spent}

    def _step_seconds(self, epoch: int, least_s: float) -> float:
        """Lower quartile of the seconds of a step of that epoch, the first ones (which compile) left out.

        What else the machine does makes steps longer, never shorter, and passes; where it does not pass, the rate
        follows the time.
        """
        taken: list[float] = []

        def enough() -> bool:
            return len(taken) >= PROBE_WARM + PROBE_STEPS and sum(taken[PROBE_WARM:]) >= least_s

        while not enough():
            began = time.monotonic()
            for inputs, targets in self.batches.epoch(epoch):
                float(self.step(inputs, targets, tf.constant(DECAY, tf.float32)))
                taken.append(time.monotonic() - began)
                began = time.monotonic()
                if enough():
                    break
        return float(np.quantile(taken[PROBE_WARM:], 0.25))

    def _epoch(self, epoch: int, epochs: int, time_share: Callable[[], float]) -> float:
        losses = []
        for number, (inputs, targets) in enumerate(self.batches.epoch(epoch)):
            done = epoch * self.batches.steps + number
            rate = self._rate(done / (epochs * self.batches.steps), time_share())
            self.optimizer.learning_rate.assign(rate)
            losses.append(self.step(inputs, targets, tf.constant(min(DECAY, (1 + done) / (10 + done)), tf.float32)))
            if epoch and time_share() >= 1:  # the rate has come to zero; the first epoch is whole whatever it takes
                break
        return float(np.mean([float(loss) for loss in losses]))

    def _rate(self, share: float, time_share: float) -> float:
        """Linear warm-up over 5 % of the steps, then cosine to zero (Loshchilov & Hutter 2016, arXiv:1608.03983).

        Where the machine became slower than planned, the share of the time spent leads: the rate still comes to zero.
        """
        top = self.batches.learning_rate
        if share < WARM_UP:
            return top * (0.01 + share / WARM_UP) / 1.01
        decay = (min(1.0, max(share, time_share)) - WARM_UP) / (1 - WARM_UP)
        return top * 0.5 * (1 + float(np.cos(np.pi * max(0.0, decay))))

    def _step(self, inputs: Any, targets: Any, decay: Any) -> Any:
        learning = self.model.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in learning])
            logits, _ = self.model(inputs, training=True)
            # Every member learns by itself: their mean is taken only when they answer.
            each = tf.tile(tf.expand_dims(targets, 1), (1, tf.shape(logits)[1], 1))
            losses = keras.losses.categorical_crossentropy(
                each, logits, from_logits=True, label_smoothing=self.batches.smoothing
            )
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, [variable.value for variable in learning])
        self.optimizer.apply(gradients, learning)
        for mean, now in zip(self.averaged, self.model.variables, strict=True):
            mean.assign(mean * decay + now * (1 - decay) if mean.dtype.is_floating else now)
        return loss

    def _tune(self) -> tuple[float, float]:
        """Log loss of the tune part at its best temperature (it can be set right later), and accuracy.

        Of the averaged weights, which stand in the model meanwhile.
        """
        now = [np.array(variable) for variable in self.model.variables]
        for variable, mean in zip(self.model.variables, self.averaged, strict=True):
            variable.assign(mean)
        inputs, labels = self.tune
        parts = [self.forward(part) for part in chunks(inputs)]
        for variable, value in zip(self.model.variables, now, strict=True):
            variable.assign(value)
        logits = join_members(np.concatenate([part.numpy() for part in parts]))
        return best_temperature(logits, labels)[1], float((logits.argmax(axis=1) == labels).mean())

    def _kept(self) -> list[Any]:
        """All that a fit goes on from."""
        return [*self.model.variables, *self.optimizer.variables, *self.averaged]

    def _state(self, epoch: int, best: float, spent: float) -> dict[str, np.ndarray]:
        arrays = {f"now_{number}": np.array(variable) for number, variable in enumerate(self._kept())}
        arrays |= {f"best_{number}": value for number, value in enumerate(self.best)}
        arrays |= {"epoch": np.array(epoch), "best": np.array(best), "spent": np.array(spent)}
        return {**arrays, "curve": np.array(json.dumps(self.curve))}

    def _stored(self) -> dict[str, np.ndarray] | None:
        """The state of an earlier process, if it is one of this network: other code may have begun the fit."""
        arrays = self.checkpoint.load()
        if arrays is None:
            return None
        wanted = {f"now_{number}": tuple(variable.shape) for number, variable in enumerate(self._kept())}
        wanted |= {f"best_{number}": tuple(variable.shape) for number, variable in enumerate(self.model.variables)}
        found = {name: one.shape for name, one in arrays.items() if name.startswith(("now_", "best_"))}
        if found == wanted:
            return arrays
        LOG.warning("the checkpoint is of another network: the fit starts over")
        return None

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        for number, variable in enumerate(self._kept()):
            variable.assign(arrays[f"now_{number}"])
        self.best = [arrays[f"best_{number}"] for number in range(len(self.model.variables))]
