"""LightGBM as its users tune it: eight settings, each with early stopping on tune, and the best of them by tune."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from benchmarks.quality_data import Data
from common.pipelines import Pipeline
from train.judge.metrics import log_loss

TREES, PATIENCE = 2000, 50
# Leaves, rate, share of the columns, rows a leaf, L2: the defaults, larger trees, slower ones that are held back more.
GRID = (
    (31, 0.1, 1.0, 20, 0.0),
    (63, 0.1, 1.0, 20, 0.0),
    (63, 0.1, 0.7, 20, 1.0),
    (127, 0.1, 0.7, 20, 1.0),
    (63, 0.05, 0.7, 20, 1.0),
    (127, 0.05, 0.7, 20, 1.0),
    (127, 0.05, 0.5, 10, 10.0),
    (127, 0.05, 0.7, 5, 10.0),
)
NAMES = ("num_leaves", "learning_rate", "colsample_bytree", "min_child_samples", "reg_lambda")
SETTINGS: tuple[dict[str, Any], ...] = tuple(dict(zip(NAMES, one, strict=True)) for one in GRID)


def fit(
    pipeline: Pipeline, train: Data, tune: Data, began: float, scratch: Path, tell: Callable[[str], None]
) -> tuple[Callable[[list[Any]], np.ndarray], dict[str, Any]]:
    """What predicts, and what is worth telling; it has no budget, since it ends long before ours."""
    encode = _encoder(pipeline, train)
    inputs, tune_inputs, classes = encode(train.inputs), encode(tune.inputs), len(pipeline.labels)
    seen = np.isin(tune.labels, train.labels)  # LightGBM refuses a label that train lacks

    def fit_one(number: int) -> tuple[float, int, Any]:
        fixed = {"n_estimators": TREES, "random_state": pipeline.train.seed, "metric": "multi_logloss"}
        model = lightgbm.LGBMClassifier(**fixed, **SETTINGS[number - 1], n_jobs=1, verbose=-1)
        model.fit(
            inputs,
            train.labels,
            eval_X=tune_inputs[seen],
            eval_y=tune.labels[seen],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        loss = float(log_loss(_probabilities(model, tune_inputs, classes), tune.labels).mean())
        tell(f"setting {number} of {len(SETTINGS)}: {model.best_iteration_} trees, tune log loss {loss:.4f}")
        return loss, number, model

    # A thread a setting: LightGBM's own threads wait for each other at every tree, for long where others work too.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        loss, number, best = min(pool.map(fit_one, range(1, len(SETTINGS) + 1)), key=lambda one: one[:2])
    facts = {"setting": SETTINGS[number - 1], "trees": int(best.best_iteration_), "tune_log_loss": loss}
    return lambda rows: _probabilities(best, encode(rows), classes), facts


def _probabilities(model: Any, inputs: pd.DataFrame, classes: int) -> np.ndarray:
    """(n, classes); a label that train lacks has none."""
    found = np.zeros((len(inputs), classes))
    found[:, model.classes_] = model.predict_proba(inputs)
    return found


def _encoder(pipeline: Pipeline, train: Data) -> Callable[[list[Any]], pd.DataFrame]:
    """Rows as LightGBM takes them: numbers as they are, categories as pandas' own."""
    names = [column.name for column in pipeline.inputs]
    frame = pd.DataFrame(train.inputs, columns=names)
    categories = [column.name for column in pipeline.inputs if column.type == "category"]
    kinds = {name: pd.CategoricalDtype(sorted(frame[name].unique())) for name in categories}
    return lambda rows: pd.DataFrame(rows, columns=names).astype(kinds)
