"""What the peers' servers share: the champion's network by two runtimes, what classify does before it, the answer.

Their servers run in environments of their own; of the project they have functions/common, which takes numpy and Pillow.
"""
# mypy: disable-error-code="import-not-found"

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.features import Encoder, read_row
from common.pictures import decode_picture, picture_view

# contract, saved (SavedModel), onnx: paths; shape of an input; port, workers, threads.
SPEC: dict[str, Any] = json.loads(os.environ["BENCH_SPEC"])
CONTRACT: dict[str, Any] = json.loads(Path(SPEC["contract"]).read_text(encoding="utf-8"))
FEATURES, LABELS = CONTRACT["features"], [label["value"] for label in CONTRACT["labels"]]
ENCODER = Encoder(FEATURES["columns"]) if CONTRACT["kind"] == "tabular" else None
Network = Callable[[np.ndarray], np.ndarray]


def answer(network: Network, body: bytes) -> dict[str, Any]:
    """To a picture, or to a row as a JSON object. Raises ValueError for a row that can't be used."""
    shares = network(encoded(body)[None])[0].tolist()
    return {"label": LABELS[shares.index(max(shares))], "probabilities": dict(zip(LABELS, shares, strict=True))}


def encoded(body: bytes) -> np.ndarray:
    """As the network takes it: float32."""
    if ENCODER is None:
        return decode_picture(body, picture_view(FEATURES)).astype(np.float32)
    values, errors = read_row(json.loads(body), CONTRACT["columns"])
    if errors:
        raise ValueError(errors)
    return ENCODER.rows([values])[0]


def by_onnx() -> Network:
    """ONNX Runtime; one thread a call that sleeps while it waits was best in every configuration."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(SPEC["onnx"], options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda encoded: session.run(["probabilities"], {name: encoded})[0]


def by_function() -> Network:
    """The SavedModel's compiled tf.function, with one thread a call."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.saved_model.load(SPEC["saved"])
    function = model.signatures["serving_default"]
    name = next(iter(function.structured_input_signature[1]))

    def network(encoded: np.ndarray, _model: Any = model) -> np.ndarray:  # without the model its variables would go
        return function(**{name: tf.constant(encoded)})["probabilities"].numpy()

    return network
