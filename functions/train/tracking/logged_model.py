"""Logs the model to MLflow: code in one file, bundle, signature, input example, pinned packages."""

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
from train.tracking.model_code import write_model_code

REQUIREMENTS = ("ai-edge-litert", "mlflow", "numpy", "pandas", "pillow", "pydantic")


def log_model(pipeline: Pipeline, serving: Path, examples: list[Any]) -> Any:
    """Log the model into the active run. `examples`: rows as tuples of values, or pictures uint8 (h, w, 3)."""
    with tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch) / "model.py"
        write_model_code(code)
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(code),
            artifacts={"serving": str(serving)},
            signature=signature_of(pipeline),
            input_example=input_example(pipeline, examples),
            pip_requirements=pinned_requirements(),
        )


def input_schema(pipeline: Pipeline) -> Schema:
    """The inputs of a call: the raw columns without the target, or pictures (n, height, width, 3)."""
    if pipeline.kind == "image":
        return Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))])
    # Not double: MLflow would refuse integers. The model checks the values itself.
    types = {"number": AnyType(), "category": DataType.string}
    return Schema([ColSpec(types[column.type], column.name) for column in pipeline.inputs])


def signature_of(pipeline: Pipeline) -> ModelSignature:
    """Input schema, and the three columns that every answer has besides the probabilities."""
    outputs = Schema(
        [ColSpec(DataType.string, "label"), ColSpec(DataType.string, "status"), ColSpec(DataType.double, "confidence")]
    )
    return ModelSignature(inputs=input_schema(pipeline), outputs=outputs, params=ParamSchema([]))


def input_example(pipeline: Pipeline, examples: list[Any]) -> Any:
    """A few inputs in the form of a call: a DataFrame of raw columns, or an array of pictures."""
    if pipeline.kind == "image":
        return np.stack(examples[:2])
    return pd.DataFrame([list(row) for row in examples[:3]], columns=[column.name for column in pipeline.inputs])


def pinned_requirements() -> list[str]:
    """The packages at their installed versions, so that the model is loaded with the same ones."""
    requirements = []
    for name in REQUIREMENTS:
        for candidate in (name, f"{name}-skinny"):
            try:
                requirements.append(f"{name}=={version(candidate)}")
                break
            except PackageNotFoundError:
                continue
    return requirements
