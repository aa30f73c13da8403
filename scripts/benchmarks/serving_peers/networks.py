"""What the peers' servers share: the network in two runtimes, the preprocessing of classify, the answer.

The servers run in their own environments. They import functions/common, which needs numpy, Pillow and pydantic.
"""
# mypy: disable-error-code="import-not-found"

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.inference.contract import Contract
from common.inference.features import Encoder, read_row
from common.inference.pictures import decode_picture, picture_view

# contract, saved (SavedModel), onnx: paths; shape of an input; port, workers, threads.
SPEC: dict[str, Any] = json.loads(os.environ["BENCH_SPEC"])
CONTRACT = Contract.decode(Path(SPEC["contract"]).read_bytes(), SPEC["contract"])
ENCODER = Encoder(CONTRACT.row_features) if CONTRACT.kind == "tabular" else None
Network = Callable[[np.ndarray], np.ndarray]


def answer(network: Network, body: bytes) -> dict[str, Any]:
    """The answer to a picture, or to a row as a JSON object. Raises ValueError for an invalid row."""
    labels, shares = CONTRACT.label_values, network(encoded(body)[None])[0].tolist()
    return {"label": labels[shares.index(max(shares))], "probabilities": dict(zip(labels, shares, strict=True))}


def encoded(body: bytes) -> np.ndarray:
    """The input of the network, float32."""
    if ENCODER is None:
        return decode_picture(body, picture_view(CONTRACT.picture_features)).astype(np.float32)
    values, errors = read_row(json.loads(body), CONTRACT.columns)
    if errors:
        raise ValueError(errors)
    return ENCODER.rows([values])[0]


def by_onnx() -> Network:
    """ONNX Runtime with one thread per call, sleeping while it waits: the best in every configuration."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(SPEC["onnx"], options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda encoded: session.run(["probabilities"], {name: encoded})[0]


def by_function() -> Network:
    """The SavedModel's compiled tf.function, with one thread per call."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.saved_model.load(SPEC["saved"])
    function = model.signatures["serving_default"]
    name = next(iter(function.structured_input_signature[1]))

    def network(
        encoded: np.ndarray, _model: Any = model
    ) -> np.ndarray:  # keeps the model alive, which owns the variables
        return function(**{name: tf.constant(encoded)})["probabilities"].numpy()

    return network
