"""A snapshot as MLflow's dataset input: what it holds and where it is, and none of its examples."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.types.schema import ColSpec, DataType, Schema, TensorSpec

from common.pipelines import Pipeline
from train.snapshot import PARTS, Examples

# MLflow takes 36 characters of a digest.
DIGEST = 32


def dataset_input(pipeline: Pipeline, examples: Examples, fingerprint: str, store: str) -> DatasetInput:
    """Digest: the start of the fingerprint. Source: the snapshot's list in the object store."""
    data = Dataset(
        name=f"{pipeline.name}-snapshot",
        digest=fingerprint[:DIGEST],
        source_type="s3" if store.startswith("s3:") else "local",
        source=json.dumps({"uri": f"{store}/datasets/{pipeline.name}/snapshots/{fingerprint}.json"}),
        schema=json.dumps(_schema(pipeline)),
        profile=json.dumps(profile(pipeline, examples)),
    )
    tags = {"mlflow.data.context": "training", "snapshot": fingerprint, "made_up": str(examples.made_up).lower()}
    return DatasetInput(data, [InputTag(key, text) for key, text in tags.items()])


def profile(pipeline: Pipeline, examples: Examples) -> dict[str, Any]:
    """Sizes of the parts, examples of each label, labels that contradicted each other."""
    counts = np.bincount(examples.labels, minlength=len(pipeline.labels))
    return {
        "num_rows": len(examples.hashes),
        "parts": {name: int((examples.parts == part).sum()) for part, name in enumerate(PARTS)},
        "labels": {label: int(count) for label, count in zip(pipeline.label_values, counts, strict=True)},
        "conflicting_labels": examples.conflicting,
        "samples": len(examples.sample_keys),
    }


def _schema(pipeline: Pipeline) -> dict[str, Any]:
    if pipeline.kind == "image":
        pictures = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), "picture")])
        labels = Schema([TensorSpec(np.dtype(np.str_), (-1,), "label")])
        return dict(TensorDatasetSchema(pictures, labels).to_dict())
    kinds = {"number": DataType.double, "category": DataType.string}
    columns = [ColSpec(kinds[column.type], column.name) for column in pipeline.columns]
    return {"mlflow_colspec": Schema(columns).to_dict()}
