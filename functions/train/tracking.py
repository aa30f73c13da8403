"""What MLflow is told of a training run: live metrics, lineage, figures, the model, the version."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, Schema, TensorSpec

from common.pipelines import Pipeline
from common.settings import Settings
from train.model_code import write_model_code

REQUIREMENTS = ("ai-edge-litert", "mlflow", "numpy", "pandas", "pillow")
LOG = logging.getLogger("sabueso.train")


def connect(settings: Settings) -> None:
    """Point MLflow's client at the server; it reads account and password from the environment of this process."""
    if settings.mlflow_user:
        os.environ["MLFLOW_TRACKING_USERNAME"] = settings.mlflow_user
        os.environ["MLFLOW_TRACKING_PASSWORD"] = settings.own_secret("mlflow-password")
    mlflow.set_tracking_uri(settings.mlflow_uri)
    mlflow.set_registry_uri(settings.mlflow_uri)


class Tracking:
    """One MLflow run. Metrics on the way may fail without harm; the version may not."""

    def __init__(self, pipeline: Pipeline, settings: Settings, run_id: str | None, tags: dict[str, str]) -> None:
        connect(settings)
        self.pipeline = pipeline
        experiment = mlflow.set_experiment(f"sabueso-{pipeline.name}")
        self.run = mlflow.start_run(run_id=run_id, tags=tags, log_system_metrics=False)
        self.run_id = str(self.run.info.run_id)
        public = settings.mlflow_public or settings.mlflow_uri
        self.url = f"{public}/#/experiments/{experiment.experiment_id}/runs/{self.run_id}"

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        try:
            mlflow.log_metrics(values, step=step)
        except MlflowException as error:
            LOG.warning("MLflow did not take metrics of step %s: %s", step, error.error_code)

    def params(self, values: dict[str, Any]) -> None:
        mlflow.log_params(values)

    def dataset(self, fingerprint: str, labels: np.ndarray, source: str, made_up: bool) -> None:
        """The snapshot as dataset input; its digest is the start of the fingerprint."""
        data = mlflow.data.from_numpy(  # type: ignore[attr-defined]
            labels, source=source, name=f"{self.pipeline.name}-snapshot", digest=fingerprint[:32]
        )
        mlflow.log_input(data, context="training", tags={"snapshot": fingerprint, "made_up": str(made_up).lower()})

    def figure(self, figure: Any, name: str) -> None:
        mlflow.log_figure(figure, f"figures/{name}.png")

    def table(self, rows: list[dict[str, Any]], name: str) -> None:
        mlflow.log_dict({"rows": rows}, name)

    def register(self, serving: Path, examples: list[Any], tags: dict[str, str], description: str) -> str:
        """Log the model from code with its bundle, register it; returns the version."""
        with tempfile.TemporaryDirectory() as scratch:
            code = Path(scratch) / "model.py"
            write_model_code(code)
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(code),
                artifacts={"serving": str(serving)},
                signature=_signature(self.pipeline),
                input_example=_input_example(self.pipeline, examples),
                pip_requirements=_pinned(),
            )
        client = mlflow.MlflowClient()
        try:
            client.create_registered_model(self.pipeline.name, description=self.pipeline.title["en"])
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = client.create_model_version(
            self.pipeline.name,
            info.model_uri,
            run_id=self.run_id,
            tags=tags,
            description=description,
            model_id=info.model_id,
        )
        return str(version.version)

    def end(self, status: str) -> None:
        mlflow.end_run(status)


def _signature(pipeline: Pipeline) -> ModelSignature:
    outputs = Schema(
        [ColSpec(DataType.string, "label"), ColSpec(DataType.string, "status"), ColSpec(DataType.double, "confidence")]
    )
    if pipeline.kind == "image":
        inputs = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))])
    else:
        # Not double: MLflow refuses whole numbers for it, which raw columns have. The model checks by itself.
        kinds = {"number": AnyType(), "category": DataType.string}
        inputs = Schema([ColSpec(kinds[column.type], column.name) for column in pipeline.inputs])
    return ModelSignature(inputs=inputs, outputs=outputs, params=ParamSchema([]))


def _input_example(pipeline: Pipeline, examples: list[Any]) -> Any:
    if pipeline.kind == "image":
        return np.stack(examples[:2])
    return pd.DataFrame([list(row) for row in examples[:3]], columns=[column.name for column in pipeline.inputs])


def _pinned() -> list[str]:
    """The versions in use here, so that whoever loads the model gets the same."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in REQUIREMENTS:
        for candidate in (name, f"{name}-skinny"):
            try:
                found.append(f"{name}=={version(candidate)}")
                break
            except PackageNotFoundError:
                continue
    return found
