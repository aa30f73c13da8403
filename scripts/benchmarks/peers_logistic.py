"""The usual alternative for photographs: scikit-learn's logistic regression on the same frozen embeddings.

Each picture and its mirror image train it; five-fold cross-validation chooses the regularisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.quality_data import Data
from common.pipelines import Pipeline
from common.storage.folder import FolderStore
from train.fit.backbones import build_backbone
from train.fit.checkpoint import Checkpoint
from train.fit.fitted import FitOptions
from train.fit.preprocessing import prepare
from train.fit.pretrained import build_classifier, embed

STRENGTHS = np.logspace(-5, 0, 6)


def fit(
    pipeline: Pipeline, train: Data, tune: Data, began: float, scratch: Path, log: Callable[[str], None]
) -> tuple[Callable[[list[Any]], np.ndarray], dict[str, Any]]:
    """The predict function and facts of the fit. It learns from the tune split too, and has no time limit."""
    checkpoint = Checkpoint(FolderStore(scratch), pipeline.name, "benchmark")
    options = FitOptions(checkpoint, scratch, math.inf, lambda *_: None, lambda stage, share: log(stage))
    model = build_classifier(build_backbone(pipeline.backbone, pipeline.image_size), len(pipeline.labels))

    def embeddings(files: list[Any]) -> np.ndarray:
        return embed(model, files, prepare(pipeline, files, scratch), options, math.inf)

    views = embeddings([*train.inputs, *tune.inputs])
    labels = np.concatenate([train.labels, tune.labels])
    inputs, wanted = np.concatenate(list(views)), np.tile(labels, len(views))
    # A picture and its mirror image stay in the same fold.
    folds = list(GroupKFold(5).split(inputs, wanted, np.tile(np.arange(len(labels)), len(views))))
    chooser = LogisticRegressionCV(Cs=STRENGTHS, cv=folds, scoring="neg_log_loss", max_iter=1000, n_jobs=-1)
    regression = make_pipeline(StandardScaler(), chooser)
    regression.fit(inputs, wanted)
    strength = float(np.ravel(regression[-1].C_)[0])
    return lambda inputs: np.asarray(regression.predict_proba(embeddings(inputs)[0])), {"strength": strength}
