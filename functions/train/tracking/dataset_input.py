"""Describes a snapshot as an MLflow dataset input: statistics and address, but no examples."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.types.schema import ColSpec, DataType, Schema, TensorSpec

from common.json_types import Json
from common.pipelines import Pipeline
from common.redaction import shown_url
from common.storage import keys
from train.snapshot import Examples, profile

# MLflow accepts up to 36 characters.
DIGEST_LENGTH = 32


def dataset_input(pipeline: Pipeline, examples: Examples, fingerprint: str, store: str) -> DatasetInput:
    """Digest: the first characters of the fingerprint. Source: the snapshot in the object store."""
    data = Dataset(
        name=f"{pipeline.name}-snapshot",
        digest=fingerprint[:DIGEST_LENGTH],
        source_type="s3" if store.startswith("s3:") else "local",
        source=json.dumps({"uri": f"{shown_url(store)}/{keys.snapshot(pipeline.name, fingerprint)}"}),
        schema=json.dumps(_schema(pipeline)),
        profile=json.dumps(asdict(profile(pipeline, examples))),
    )
    tags = {"mlflow.data.context": "training", "snapshot": fingerprint, "made_up": str(examples.made_up).lower()}
    return DatasetInput(data, [InputTag(key, value) for key, value in tags.items()])


def _schema(pipeline: Pipeline) -> dict[str, Json]:
    if pipeline.kind == "image":
        pictures = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), "picture")])
        labels = Schema([TensorSpec(np.dtype(np.str_), (-1,), "label")])
        return dict(TensorDatasetSchema(pictures, labels).to_dict())
    types = {"number": DataType.double, "category": DataType.string}
    columns = [ColSpec(types[column.type], column.name) for column in pipeline.columns]
    return {"mlflow_colspec": Schema(columns).to_dict()}
