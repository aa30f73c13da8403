"""The training that train runs, fit and bundle; the answers are those of the exported network."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_data import KEY, Data
from common.inference.bundle import NETWORK, Bundle
from common.inference.contract import Contract
from common.inference.network import Network
from common.inference.predictions import statuses
from common.pipelines import Pipeline
from common.storage.folder import FolderStore
from train.export.make_bundle import Export, make_bundle
from train.export.make_contract import make_contract
from train.export.sign_bundle import sign_bundle
from train.fit.checkpoint import Checkpoint
from train.fit.fit_network import fit_network
from train.fit.fitted import FitOptions, Fitted, fit_deadline
from train.statistics.metrics import evaluate
from train.training_key import TrainingKey


def fit(
    pipeline: Pipeline, train: Data, tune: Data, began: float, scratch: Path, log: Callable[[str], None]
) -> tuple[Callable[[list[Any]], np.ndarray], dict[str, Any]]:
    """The predict function and facts of the fit. Reading the data counts against the budget, as in train."""

    def on_epoch(done: int, total: int, figures: dict[str, float]) -> None:
        log(f"epoch {done} of {total}: tune accuracy {figures['tune_accuracy']:.4f}")

    def on_stage(stage: str, share: float) -> None:
        log(stage)

    splits = (train.inputs, train.labels), (tune.inputs, tune.labels)
    checkpoint = Checkpoint(FolderStore(scratch / "store"), pipeline.name, "benchmark")
    budget = pipeline.train.budget_s
    deadline = fit_deadline(budget, time.monotonic() - began)
    fitted = fit_network(pipeline, *splits, FitOptions(checkpoint, scratch / "pictures", deadline, on_epoch, on_stage))
    folder = scratch / "serving"
    folder.mkdir()
    export = make_bundle(pipeline, fitted, *splits, folder)
    log(f"exported after {time.monotonic() - began:.0f} s")
    sign_bundle(folder, _contract(pipeline, fitted, export, train, tune, folder), KEY)
    bundle = Bundle(folder, KEY)

    facts = {"fit": fitted.params, "export_difference": export.difference, "temperature": export.temperature}
    return lambda inputs: bundle.predict(inputs)[0], facts


def _contract(pipeline: Pipeline, fitted: Fitted, export: Export, train: Data, tune: Data, folder: Path) -> Contract:
    """A contract that classify accepts. Its metrics are of the tune split: a benchmark has no holdout."""
    probabilities, novelty = Network(folder / NETWORK).predict(fitted.preprocessing.encode(tune.inputs))
    answers = statuses(probabilities, novelty, export.thresholds)
    metrics, per_class = evaluate(probabilities, tune.labels, pipeline.label_values, answers)
    return make_contract(
        pipeline,
        fitted.preprocessing.features,
        export,
        metrics,
        per_class,
        TrainingKey("", ""),
        examples=len(train.inputs) + len(tune.inputs),
        made_up=False,
        git_commit="unknown",
    )
