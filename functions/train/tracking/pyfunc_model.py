"""The model that `mlflow.pyfunc.load_model("models:/NAME@champion")` loads with plain MLflow.

It is logged as code, in one self-contained file with the common modules that it needs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from common.errors import BundleRefused, Unusable
from common.inference.contract import Contract
from common.inference.features import encode_rows, read_row
from common.inference.network import Network
from common.inference.pictures import picture_view, resize_array
from common.inference.predictions import predictions, rounded


class BundleModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Inputs -> a DataFrame with label, status, confidence and one probability per label.

    tabular: a DataFrame of the raw columns, without the target. image: uint8 pictures (n, height, width, 3).
    """

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["serving"])
        self.contract = Contract.model_validate_json((folder / "contract.json").read_bytes())
        for name, digest in self.contract.files.items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise BundleRefused(f"{name} differs from the logged file")
        self.network = Network(folder / "network.tflite")

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow reads hints here
        inputs = self._pictures(model_input) if self.contract.kind == "image" else self._rows(model_input)
        probabilities, novelty = self.network.predict(inputs)
        answers = predictions(probabilities, novelty, self.contract)
        frame = pd.DataFrame([{key: answer[key] for key in ("label", "status", "confidence")} for answer in answers])
        for index, label in enumerate(self.contract.label_values):
            frame[f"probability_{label}"] = [row[index] for row in rounded(probabilities)]
        return frame

    def _pictures(self, pictures: Any) -> Any:
        view = picture_view(self.contract.picture_features)
        stacked = np.asarray(pictures)
        if stacked.ndim != 4 or stacked.shape[3] != 3:
            raise Unusable(f"pictures must be (n, height, width, 3), not {stacked.shape}")
        return np.stack([resize_array(picture, view) for picture in stacked]).astype(np.float32)

    def _rows(self, frame: Any) -> Any:
        rows = []
        for number, record in enumerate(frame.to_dict("records")):
            values, errors = read_row(record, self.contract.columns)
            if errors:
                raise Unusable(f"row {number}: " + "; ".join(f"{error.field}: {error.detail}" for error in errors))
            rows.append(values)
        return encode_rows(rows, self.contract.row_features)


mlflow.models.set_model(BundleModel())
