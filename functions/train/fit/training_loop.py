"""Fits a network within the time budget: plans the epochs from measured steps and saves its state to resume."""

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
from train.fit.checkpoint import Checkpoint, FitPlan
from train.fit.optimizers import make_optimizer
from train.statistics.calibration import best_temperature, join_members

LOG = logging.getLogger("sabueso.train")
# A plan measures at least this many steps for at least this share of the budget, after warm-up steps that compile.
PROBE_STEPS, PROBE_SHARE, PROBE_WARM_UP = 9, 0.01, 3
# Share of the steps over which the learning rate rises.
RATE_WARM_UP = 0.05
MIN_EPOCHS = 3
# The epochs get at least this share of the time budget, however long measuring took: the first steps compile.
MIN_EPOCHS_SHARE = 0.5
# Decay of the weight average per step: it covers about the last hundred steps.
AVERAGE_DECAY = 0.99


class Batches(Protocol):
    """The batches of inputs and soft targets for one kind of data, and the hyperparameters that go with them.

    `late_share`: the share of epochs, at the end, whose steps cost as much as those of the last epoch.
    """

    batch_size: int
    max_epochs: int
    steps_per_epoch: int
    late_share: float
    optimizer: str  # muon | adamw
    learning_rate: float
    weight_decay: float
    smoothing: float

    def set_epochs(self, epochs: int) -> None: ...

    def epoch(self, number: int) -> Iterator[tuple[Any, Any]]: ...


def predict_members(model: keras.Model, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, members, classes) and embeddings (n, d) of all inputs, in inference mode."""
    forward = tf.function(lambda chunk: model(chunk, training=False)[:2], reduce_retracing=True)
    logits, embeddings = zip(*(forward(chunk) for chunk in chunks(inputs)), strict=True)
    return np.concatenate([chunk.numpy() for chunk in logits]), np.concatenate([chunk.numpy() for chunk in embeddings])


def chunks(inputs: np.ndarray) -> Iterator[Any]:
    """Tensors of bounded memory: a network's activations for a picture take a thousand times those for a row."""
    size = 32 if inputs.ndim == 4 else 512
    for start in range(0, len(inputs), size):
        yield tf.constant(inputs[start : start + size], tf.float32)


def predict_joined(model: keras.Model, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joined logits (n, classes) and embeddings (n, d) of all inputs, in inference mode."""
    logits, embeddings = predict_members(model, inputs)
    return join_members(logits), embeddings


class Fit:
    """One fit of the model's trainable variables. `run` leaves averaged weights in the model: the last, or the best.

    Weights are averaged exponentially over the steps (Polyak & Juditsky 1992). The last ones are used unless their tune
    accuracy is more than one standard error below the best (the one-standard-error rule of Breiman et al. 1984): the
    tune split is small, so the best of many evaluations is partly chance. `curve` has a point per epoch, including
    epochs of an earlier process: `epoch`, `time` (ms) and the metrics that `on_epoch` receives.
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
        self.curve: list[dict[str, float]] = []
        self.optimizer = make_optimizer(batches.optimizer, batches.learning_rate, batches.weight_decay)
        self.optimizer.build(model.trainable_variables)
        self.averaged = [tf.Variable(variable, trainable=False) for variable in model.variables]
        self.step = tf.function(self._step)
        self.forward = tf.function(lambda chunk: model(chunk, training=False)[0], reduce_retracing=True)

    def run(self, budget_s: float, epochs: int | None = None) -> FitPlan:
        """Fit; returns the plan. A stored plan is repeated; a stored state is resumed at the following epoch.

        A new plan has `epochs` epochs, or as many as fit into the budget.
        """
        best_accuracy, first_epoch, spent_s = -1.0, 0, 0.0
        began = time.monotonic()
        plan, state = self.checkpoint.plan(), self._load_state()
        if plan is not None and state is not None:
            first_epoch, best_accuracy = int(state["epoch"]) + 1, float(state["best"])
            spent_s = float(state["spent"])
            self.curve = json.loads(str(state["curve"]))
            self._restore(state)
        else:
            if plan is None:
                plan = self._plan(began, budget_s, epochs)
                self.checkpoint.save_plan(plan)
            self.best_weights = [np.array(average) for average in self.averaged]
        budget_s, measured_s = plan.budget_s or budget_s, plan.measured_s

        def time_share() -> float:  # of the time for the epochs
            return (spent_s + time.monotonic() - began - measured_s) / (budget_s - measured_s)

        epochs = plan.epochs
        self.batches.set_epochs(epochs)
        for epoch in range(first_epoch, epochs):
            loss = self._epoch(epoch, epochs, time_share)
            tune_loss, tune_accuracy = self._evaluate_tune()
            # By accuracy, the later epoch at a tie: log loss reaches its minimum long before accuracy its maximum.
            if tune_accuracy >= best_accuracy:
                best_accuracy, self.best_weights = tune_accuracy, [np.array(average) for average in self.averaged]
            metrics = {"train_loss": loss, "tune_log_loss": tune_loss, "tune_accuracy": tune_accuracy}
            self.curve.append({"epoch": epoch + 1, "time": round(time.time() * 1000), **metrics})
            self.on_epoch(epoch + 1, epochs, metrics)
            elapsed_s = spent_s + time.monotonic() - began
            is_last = elapsed_s > budget_s or epoch == epochs - 1
            if is_last or self.checkpoint.is_due():
                # The last state is saved too: the steps after the fit may have to be resumed.
                self._save(self._state(epochs - 1 if is_last else epoch, best_accuracy, elapsed_s))
            if is_last:
                break
        standard_error = np.sqrt(best_accuracy * (1 - best_accuracy) / len(self.tune[1]))
        use_last = self.curve[-1]["tune_accuracy"] >= best_accuracy - standard_error
        for variable, value in zip(self.model.variables, self.averaged if use_last else self.best_weights, strict=True):
            variable.assign(value)
        return plan

    def _save(self, state: dict[str, np.ndarray]) -> None:
        try:
            self.checkpoint.save(state)
        except StoreUnavailable as error:  # the fit continues and tries again when the next save is due
            self.checkpoint.saved_at = time.monotonic()
            LOG.warning("no checkpoint was written: %s", error.detail)

    def _plan(self, began: float, budget_s: float, epochs: int | None) -> FitPlan:
        batches = self.batches
        plan = FitPlan(
            epochs=epochs or 1,
            steps=batches.steps_per_epoch,
            budget_s=budget_s,
            size=batches.batch_size,
            optimizer=batches.optimizer,
            learning_rate=batches.learning_rate,
            weight_decay=batches.weight_decay,
            smoothing=batches.smoothing,
        )
        return plan if epochs else self._measure_plan(plan, began, budget_s)

    def _measure_plan(self, plan: FitPlan, began: float, budget_s: float) -> FitPlan:
        """Plan as many epochs as fit into the remaining time, from measured steps; restores the weights afterwards.

        If measuring takes more than half of the budget, the epochs still get half of it.
        """
        initial = [np.array(variable) for variable in self._state_variables()]
        self.batches.set_epochs(2)
        late_share = self.batches.late_share
        min_seconds = PROBE_SHARE * budget_s
        step_s = self._step_seconds(0, min_seconds) * (1 - late_share)
        step_s += self._step_seconds(1, min_seconds) * late_share if late_share else 0.0
        self._evaluate_tune()
        evaluation_began = time.monotonic()
        self._evaluate_tune()
        evaluation_s = time.monotonic() - evaluation_began
        for variable, value in zip(self._state_variables(), initial, strict=True):
            variable.assign(value)
        measured_s = round(time.monotonic() - began, 3)
        remaining_s = max(budget_s - measured_s, MIN_EPOCHS_SHARE * budget_s)
        affordable = int(remaining_s / (step_s * self.batches.steps_per_epoch + evaluation_s))
        epochs = max(MIN_EPOCHS, min(self.batches.max_epochs, affordable))
        measured = {"epochs": epochs, "step_ms": round(step_s * 1000, 3), "measured_s": measured_s}
        return plan.model_copy(update={**measured, "budget_s": round(measured_s + remaining_s, 3)})

    def _step_seconds(self, epoch: int, min_seconds: float) -> float:
        """Lower quartile of the seconds per step of that epoch, without the first steps, which compile.

        Other load on the machine makes steps longer, never shorter, and usually passes. If it does not pass, the
        learning rate follows the time.
        """
        durations: list[float] = []

        def is_enough() -> bool:
            enough_steps = len(durations) >= PROBE_WARM_UP + PROBE_STEPS
            return enough_steps and sum(durations[PROBE_WARM_UP:]) >= min_seconds

        while not is_enough():
            began = time.monotonic()
            for inputs, targets in self.batches.epoch(epoch):
                float(self.step(inputs, targets, tf.constant(AVERAGE_DECAY, tf.float32)))
                durations.append(time.monotonic() - began)
                began = time.monotonic()
                if is_enough():
                    break
        return float(np.quantile(durations[PROBE_WARM_UP:], 0.25))

    def _epoch(self, epoch: int, epochs: int, time_share: Callable[[], float]) -> float:
        """Run one epoch; returns its mean loss."""
        losses = []
        for number, (inputs, targets) in enumerate(self.batches.epoch(epoch)):
            done = epoch * self.batches.steps_per_epoch + number
            rate = self._rate(done / (epochs * self.batches.steps_per_epoch), time_share())
            self.optimizer.learning_rate.assign(rate)
            decay = min(AVERAGE_DECAY, (1 + done) / (10 + done))
            losses.append(self.step(inputs, targets, tf.constant(decay, tf.float32)))
            if epoch and time_share() >= 1:  # the learning rate has reached zero; the first epoch always completes
                break
        return float(np.mean([float(loss) for loss in losses]))

    def _rate(self, step_share: float, time_share: float) -> float:
        """Linear warm-up over 5 % of the steps, then cosine to zero (Loshchilov & Hutter 2016, arXiv:1608.03983).

        If steps take longer than planned, the share of the time determines the rate, so that it still reaches zero.
        """
        max_rate = self.batches.learning_rate
        if step_share < RATE_WARM_UP:
            return max_rate * (0.01 + step_share / RATE_WARM_UP) / 1.01
        decay = (min(1.0, max(step_share, time_share)) - RATE_WARM_UP) / (1 - RATE_WARM_UP)
        return max_rate * 0.5 * (1 + float(np.cos(np.pi * max(0.0, decay))))

    def _step(self, inputs: Any, targets: Any, decay: Any) -> Any:
        trainable = self.model.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in trainable])
            logits, _ = self.model(inputs, training=True)
            # Each member has its own loss: members are averaged only at prediction time.
            member_targets = tf.tile(tf.expand_dims(targets, 1), (1, tf.shape(logits)[1], 1))
            losses = keras.losses.categorical_crossentropy(
                member_targets, logits, from_logits=True, label_smoothing=self.batches.smoothing
            )
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, [variable.value for variable in trainable])
        self.optimizer.apply(gradients, trainable)
        for average, current in zip(self.averaged, self.model.variables, strict=True):
            average.assign(average * decay + current * (1 - decay) if average.dtype.is_floating else current)
        return loss

    def _evaluate_tune(self) -> tuple[float, float]:
        """Log loss and accuracy of the averaged weights on the tune split; swaps them into the model meanwhile.

        Log loss is taken at its best temperature, since calibration follows the fit.
        """
        current = [np.array(variable) for variable in self.model.variables]
        for variable, average in zip(self.model.variables, self.averaged, strict=True):
            variable.assign(average)
        inputs, labels = self.tune
        outputs = [self.forward(chunk) for chunk in chunks(inputs)]
        for variable, value in zip(self.model.variables, current, strict=True):
            variable.assign(value)
        logits = join_members(np.concatenate([chunk.numpy() for chunk in outputs]))
        return best_temperature(logits, labels)[1], float((logits.argmax(axis=1) == labels).mean())

    def _state_variables(self) -> list[Any]:
        return [*self.model.variables, *self.optimizer.variables, *self.averaged]

    def _state(self, epoch: int, best_accuracy: float, spent_s: float) -> dict[str, np.ndarray]:
        state = {f"now_{number}": np.array(variable) for number, variable in enumerate(self._state_variables())}
        state |= {f"best_{number}": weight for number, weight in enumerate(self.best_weights)}
        state |= {"epoch": np.array(epoch), "best": np.array(best_accuracy), "spent": np.array(spent_s)}
        return {**state, "curve": np.array(json.dumps(self.curve))}

    def _load_state(self) -> dict[str, np.ndarray] | None:
        """The stored state, if it belongs to this network: an older version of the code may have written it."""
        state = self.checkpoint.load()
        if state is None:
            return None
        expected = {f"now_{number}": tuple(variable.shape) for number, variable in enumerate(self._state_variables())}
        expected |= {f"best_{number}": tuple(variable.shape) for number, variable in enumerate(self.model.variables)}
        stored = {name: array.shape for name, array in state.items() if name.startswith(("now_", "best_"))}
        if stored == expected:
            return state
        LOG.warning("the checkpoint belongs to another network: the fit starts over")
        return None

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        for number, variable in enumerate(self._state_variables()):
            variable.assign(state[f"now_{number}"])
        self.best_weights = [state[f"best_{number}"] for number in range(len(self.model.variables))]
