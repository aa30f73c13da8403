"""The training that the train function runs: fit and bundle; answers are those of the exported network."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_data import KEY, Data
from common.bundle import Bundle, sign_bundle
from common.objects import FolderObjects
from common.pipelines import Pipeline
from train.bundle.make_bundle import make_bundle
from train.fit.checkpoint import Checkpoint
from train.fit.make_network import make_network


def fit(
    pipeline: Pipeline, train: Data, tune: Data, began: float, scratch: Path, tell: Callable[[str], None]
) -> tuple[Callable[[list[Any]], np.ndarray], dict[str, Any]]:
    """What predicts, and what is worth telling; the network has the whole budget, as in the train function."""

    def on_epoch(done: int, total: int, facts: dict[str, float]) -> None:
        tell(f"epoch {done} of {total}: tune accuracy {facts['tune_accuracy']:.4f}")

    def on_stage(stage: str, share: float) -> None:
        tell(stage)

    parts = (train.inputs, train.labels), (tune.inputs, tune.labels)
    checkpoint = Checkpoint(FolderObjects(scratch / "store"), f"jobs/{pipeline.name}/checkpoints/benchmark/")
    budget = pipeline.train.budget_s
    spent_s = time.monotonic() - began
    pictures = scratch / "pictures"
    fitted = make_network(pipeline, *parts, budget, checkpoint, pictures, on_epoch, on_stage, spent_s=spent_s)
    folder = scratch / "serving"
    folder.mkdir()
    contract, apart = make_bundle(pipeline, fitted, *parts, folder)
    tell(f"exported after {time.monotonic() - began:.0f} s")
    sign_bundle(folder, contract, KEY)
    bundle = Bundle(folder, KEY)

    facts = {"plan": fitted.plan, "export_apart": float(apart), "temperature": float(contract["temperature"])}
    return lambda inputs: bundle.predict(inputs)[0], facts
