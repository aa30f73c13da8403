"""The model as MLflow keeps it: code in one file, bundle, signature, input example, pinned packages."""

from __future__ import annotations

import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, Schema, TensorSpec

from common.pipelines import Pipeline
from train.report.model_code import write_model_code

REQUIREMENTS = ("ai-edge-litert", "mlflow", "numpy", "pandas", "pillow")


def log_model(pipeline: Pipeline, serving: Path, examples: list[Any]) -> Any:
    """Log it into the active run. `examples`: rows as tuples of values, or decoded pictures uint8 (h, w, 3)."""
    with tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch) / "model.py"
        write_model_code(code)
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(code),
            artifacts={"serving": str(serving)},
            signature=signature_of(pipeline),
            input_example=input_example(pipeline, examples),
            pip_requirements=pinned(),
        )


def input_schema(pipeline: Pipeline) -> Schema:
    """What a caller gives: the raw columns without the target, or pictures (n, height, width, 3)."""
    if pipeline.kind == "image":
        return Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))])
    # Not double: MLflow refuses whole numbers for it, which raw columns have. The model checks by itself.
    kinds = {"number": AnyType(), "category": DataType.string}
    return Schema([ColSpec(kinds[column.type], column.name) for column in pipeline.inputs])


def signature_of(pipeline: Pipeline) -> ModelSignature:
    """Input, and the three columns that every answer has beside a probability for each label."""
    outputs = Schema(
        [ColSpec(DataType.string, "label"), ColSpec(DataType.string, "status"), ColSpec(DataType.double, "confidence")]
    )
    return ModelSignature(inputs=input_schema(pipeline), outputs=outputs, params=ParamSchema([]))


def input_example(pipeline: Pipeline, examples: list[Any]) -> Any:
    """A few inputs as a caller would give them: a DataFrame of raw columns, or an array of pictures."""
    if pipeline.kind == "image":
        return np.stack(examples[:2])
    return pd.DataFrame([list(row) for row in examples[:3]], columns=[column.name for column in pipeline.inputs])


def pinned() -> list[str]:
    """The versions in use here, so that whoever loads the model gets the same."""
    found = []
    for name in REQUIREMENTS:
        for candidate in (name, f"{name}-skinny"):
            try:
                found.append(f"{name}=={version(candidate)}")
                break
            except PackageNotFoundError:
                continue
    return found
