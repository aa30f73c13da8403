"""What the peers' servers share: the champion's network in three forms, a picture's decoder, the answer.

Their servers run in environments of their own, so nothing of the project is imported here.
"""
# mypy: disable-error-code="import-not-found"

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

# The spec: kind, labels, how pictures are seen, saved (SavedModel), onnx. The options: what a configuration changes.
SPEC: dict[str, Any] = json.loads(Path(os.environ["BENCH_SPEC"]).read_text(encoding="utf-8"))
OPTIONS: dict[str, Any] = json.loads(os.environ.get("BENCH_OPTIONS", "{}"))
PORT = int(os.environ.get("BENCH_PORT", "0"))
Network = Callable[[np.ndarray], np.ndarray]


def picture(body: bytes) -> np.ndarray:
    """An encoded picture -> float32 (1, size, size, 3), by the steps of common/pictures.py."""
    size, least, (left, top, right, bottom) = SPEC["image_size"], SPEC["least_side"], SPEC["region"]
    whole: Image.Image
    if simplejpeg.is_jpeg(body):
        height, width, *_ = simplejpeg.decode_jpeg_header(body)
        scale = next((one for one in (8, 4, 2) if min(width, height) // least >= one), 1)
        sides = {"min_width": -(-width // scale), "min_height": -(-height // scale)}
        whole = Image.fromarray(simplejpeg.decode_jpeg(body, "RGB", **sides))
    else:
        whole = Image.open(io.BytesIO(body)).convert("RGB")
    box = (whole.width * left, whole.height * top, whole.width * right, whole.height * bottom)
    small = whole.resize((size, size), Image.Resampling.BILINEAR, box, reducing_gap=2.0)
    return np.asarray(small, dtype=np.float32)[None]


def row(values: list[float]) -> np.ndarray:
    """An encoded row -> float32 (1, width)."""
    return np.asarray(values, dtype=np.float32)[None]


def answer(probabilities: np.ndarray) -> dict[str, Any]:
    first = probabilities[0].tolist()
    labels = SPEC["labels"]
    return {"label": labels[first.index(max(first))], "probabilities": dict(zip(labels, first, strict=True))}


def by_onnx() -> Network:
    """ONNX Runtime; options `intra` (threads of one call) and `spinning` (0: its threads sleep while they wait)."""
    import onnxruntime

    wanted = onnxruntime.SessionOptions()
    if "intra" in OPTIONS:
        wanted.intra_op_num_threads = OPTIONS["intra"]
    if "spinning" in OPTIONS:
        wanted.add_session_config_entry("session.intra_op.allow_spinning", str(OPTIONS["spinning"]))
    session = onnxruntime.InferenceSession(SPEC["onnx"], wanted, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0].name
    place = [one.name for one in session.get_outputs()].index("probabilities")
    return lambda encoded: session.run(None, {taken: encoded})[place]


def by_keras() -> Network:
    """Keras as its guides have it: `model.predict`."""
    import keras

    shape = (SPEC["image_size"], SPEC["image_size"], 3) if SPEC["kind"] == "image" else (SPEC["width"],)
    given = keras.Input(shape)
    model = keras.Model(given, keras.layers.TFSMLayer(SPEC["saved"], call_endpoint="serving_default")(given))
    return lambda encoded: model.predict(encoded, verbose=0)["probabilities"]


def by_function() -> Network:
    """The same as a compiled tf.function; options `intra` and `inter` (TensorFlow's threads)."""
    import tensorflow as tf

    if "intra" in OPTIONS:
        tf.config.threading.set_intra_op_parallelism_threads(OPTIONS["intra"])
    if "inter" in OPTIONS:
        tf.config.threading.set_inter_op_parallelism_threads(OPTIONS["inter"])
    kept = tf.saved_model.load(SPEC["saved"])
    function = kept.signatures["serving_default"]
    taken = next(iter(function.structured_input_signature[1]))

    def network(encoded: np.ndarray) -> np.ndarray:
        return function(**{taken: tf.constant(encoded)})["probabilities"].numpy()

    network.kept = kept  # type: ignore[attr-defined]  # else its variables would be let go
    return network


def network() -> Network:
    """The form that BENCH_NETWORK names."""
    return {"onnx": by_onnx, "keras": by_keras, "function": by_function}[os.environ["BENCH_NETWORK"]]()
