"""The settings fingerprint: with the snapshot it decides what a training makes."""

from __future__ import annotations

import hashlib
import json

from common.json_types import Json
from common.pipelines import Pipeline
from train.settings import TrainSettings

# Raise it when the same snapshot and settings would give another version: a new recipe, a new format.
RECIPE = 4


def settings_fingerprint(pipeline: Pipeline, settings: TrainSettings) -> str:
    """sha256 of everything but the snapshot that decides the result. A weights file counts by its sha256."""
    weights, epochs = pipeline.weights, settings.epochs(pipeline.name)
    limits: dict[str, Json] = {"budget_s": settings.budget_s(pipeline.name, pipeline.train.budget_s)}
    if epochs is not None:
        limits["epochs"] = epochs
    train = {
        **pipeline.train.model_dump(),
        "backbone": pipeline.backbone,
        "image_size": pipeline.train.image_size or 0,
    }
    facts: dict[str, Json] = {
        "recipe": RECIPE,
        "kind": pipeline.kind,
        "columns": [column.model_dump(exclude_none=True) for column in pipeline.inputs],
        "target": pipeline.target.column,
        "labels": pipeline.label_values,
        "train": {**train, **limits, "weights": None if weights is None else weights.sha256},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
