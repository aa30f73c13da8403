"""Logs the network as a Keras model of MLflow's tensorflow flavour: `python mlflow_model.py FOLDER`."""
# mypy: disable-error-code="import-not-found"

import sys
from typing import Any

import keras
import mlflow
import numpy as np
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import Schema, TensorSpec
from networks import SPEC


class Champion(keras.layers.TFSMLayer):  # type: ignore[misc]
    """The SavedModel as a layer that Keras can load without being asked to trust it each time."""

    @classmethod
    def from_config(cls, config: dict[str, Any], **_: Any) -> "Champion":
        return cls(**config)


shape = tuple(SPEC["shape"])
inputs = keras.Input(shape)
model = keras.Model(inputs, Champion(SPEC["saved"], call_endpoint="serving_default")(inputs))
signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))]))
mlflow.tensorflow.save_model(model, sys.argv[1], signature=signature, custom_objects={"Champion": Champion})
