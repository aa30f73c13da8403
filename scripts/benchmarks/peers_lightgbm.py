"""LightGBM as its users tune it: eight settings with early stopping, the best chosen on the tune split."""

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
from train.statistics.metrics import log_loss

TREES, EARLY_STOPPING = 2000, 50
# Leaves, rate, share of the columns, rows per leaf, L2: defaults, larger trees, slower and more regularised ones.
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
SETTINGS: tuple[dict[str, Any], ...] = tuple(dict(zip(NAMES, values, strict=True)) for values in GRID)


def fit(
    pipeline: Pipeline, train: Data, tune: Data, began: float, scratch: Path, log: Callable[[str], None]
) -> tuple[Callable[[list[Any]], np.ndarray], dict[str, Any]]:
    """The predict function and facts of the fit. It needs no budget: it ends long before ours."""
    encode = _encoder(pipeline, train)
    inputs, tune_inputs, classes = encode(train.inputs), encode(tune.inputs), len(pipeline.labels)
    seen = np.isin(tune.labels, train.labels)  # LightGBM rejects labels that train lacks

    def fit_one(number: int) -> tuple[float, int, Any]:
        fixed = {"n_estimators": TREES, "random_state": pipeline.train.seed, "metric": "multi_logloss"}
        model = lightgbm.LGBMClassifier(**fixed, **SETTINGS[number - 1], n_jobs=1, verbose=-1)
        model.fit(
            inputs,
            train.labels,
            eval_X=tune_inputs[seen],
            eval_y=tune.labels[seen],
            callbacks=[lightgbm.early_stopping(EARLY_STOPPING, verbose=False)],
        )
        loss = float(log_loss(_probabilities(model, tune_inputs, classes), tune.labels).mean())
        log(f"setting {number} of {len(SETTINGS)}: {model.best_iteration_} trees, tune log loss {loss:.4f}")
        return loss, number, model

    # One thread per setting: LightGBM's own threads wait for each other at every tree, which is slow on a busy machine.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        loss, number, best = min(pool.map(fit_one, range(1, len(SETTINGS) + 1)), key=lambda result: result[:2])
    facts = {"setting": SETTINGS[number - 1], "trees": int(best.best_iteration_), "tune_log_loss": loss}
    return lambda rows: _probabilities(best, encode(rows), classes), facts


def _probabilities(model: Any, inputs: pd.DataFrame, classes: int) -> np.ndarray:
    """(n, classes); 0 for labels that train lacks."""
    probabilities = np.zeros((len(inputs), classes))
    probabilities[:, model.classes_] = model.predict_proba(inputs)
    return probabilities


def _encoder(pipeline: Pipeline, train: Data) -> Callable[[list[Any]], pd.DataFrame]:
    """Rows for LightGBM: numbers unchanged, categories as pandas categoricals."""
    names = [column.name for column in pipeline.inputs]
    frame = pd.DataFrame(train.inputs, columns=names)
    categories = [column.name for column in pipeline.inputs if column.type == "category"]
    dtypes = {name: pd.CategoricalDtype(sorted(frame[name].unique())) for name in categories}
    return lambda rows: pd.DataFrame(rows, columns=names).astype(dtypes)
