"""The model that plain MLflow loads: `mlflow.pyfunc.load_model("models:/NAME@champion")`.

Logged as code: this text follows that of the common modules it needs, in one self-contained file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from common.errors import BundleRefused, Unusable
from common.features import encode_rows, read_row
from common.network import Network, predictions
from common.pictures import picture_view, resize_array


class BundleModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Plain inputs -> a DataFrame with label, status, confidence and a probability per label.

    tabular: a DataFrame of the raw columns, without the target. image: uint8 pictures (n, height, width, 3).
    """

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["serving"])
        self.contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
        for name, digest in self.contract["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise BundleRefused(f"{name} is not the file that was logged")
        self.network = Network(folder / "network.tflite")

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow reads hints here
        inputs = self._pictures(model_input) if self.contract["kind"] == "image" else self._rows(model_input)
        found = predictions(*self.network.predict(inputs), self.contract)
        return pd.DataFrame(
            [
                {key: one[key] for key in ("label", "status", "confidence")}
                | {f"probability_{label}": share for label, share in one["probabilities"].items()}
                for one in found
            ]
        )

    def _pictures(self, pictures: Any) -> Any:
        view = picture_view(self.contract["features"])
        stacked = np.asarray(pictures)
        if stacked.ndim != 4 or stacked.shape[3] != 3:
            raise Unusable(f"pictures must be (n, height, width, 3), not {stacked.shape}")
        return np.stack([resize_array(one, view) for one in stacked]).astype(np.float32)

    def _rows(self, frame: Any) -> Any:
        rows = []
        for place, record in enumerate(frame.to_dict("records")):
            values, errors = read_row(record, self.contract["columns"])
            if errors:
                raise Unusable(f"row {place}: " + "; ".join(f"{one.field}: {one.detail}" for one in errors))
            rows.append(values)
        return encode_rows(rows, self.contract["features"]["columns"])


mlflow.models.set_model(BundleModel())
