"""Networks of keras.applications as backbones for pictures, with weights from a file if one is given."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from common.errors import TrainingFailed
from train.fit.image import DROPOUT, NORM_MOMENTUM, ImageBatches, precision

ADVICE = "Take the file without the top: its name ends in `notop` or `no_top`."
CAFFE_MEAN = (103.939, 116.779, 123.68)


def _as_it_is(pixels: Any) -> Any:
    """For networks that bring their preprocessing along."""
    return pixels


def _caffe(pixels: Any) -> Any:
    """Blue, green, red, less their means over ImageNet: pictures as the first residual networks had them."""
    return keras.ops.flip(pixels, axis=-1) - keras.ops.convert_to_tensor(CAFFE_MEAN)


@dataclass(frozen=True)
class _Kind:
    """`half`: bfloat16 pays. Convolutions of one channel each, which most have, take three times longer in it."""

    make: Callable[..., keras.Model]
    preprocess: Callable[[Any], Any] = _as_it_is
    half: bool = False


KINDS = {
    "mobilenet_v3_small": _Kind(keras.applications.MobileNetV3Small),
    "mobilenet_v3_large": _Kind(keras.applications.MobileNetV3Large),
    "efficientnet_v2_b0": _Kind(keras.applications.EfficientNetV2B0),
    "resnet50": _Kind(keras.applications.ResNet50, _caffe, half=True),
}


class Backbone(keras.layers.Layer):
    """A network as one layer. `rests`: always in inference mode, so that its batch norms keep what they know.

    That is how Keras's guide on transfer learning has it; the training flag of a call would go through to each layer.
    """

    def __init__(self, network: keras.Model, rests: bool) -> None:
        super().__init__(name="backbone")
        self.network, self.rests = network, rests

    def call(self, pixels: Any, training: bool = False) -> Any:
        return self.network(pixels, training=training and not self.rests)


@contextmanager
def _policy(dtype: str) -> Iterator[None]:
    """The layers made in it compute in that type: keras.applications takes it from the global setting alone."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def fit_precision(name: str) -> str:
    """The numbers that a fit of this backbone computes with."""
    return precision() if KINDS[name].half else "float32"


def build_backbone(name: str, classes: int, image_size: int, weighted: bool, dtype: str = "float32") -> keras.Model:
    """Pixels 0..255 float32 (n, side, side, 3) -> logits (n, 1, classes) and embedding (n, d), float32.

    The backbone's weights are random. `weighted`: they will be loaded, so it never leaves inference mode.
    """
    kind = KINDS[name]
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    with _policy(dtype):
        network = kind.make(include_top=False, weights=None, input_shape=(image_size, image_size, 3))
    if not weighted:
        # Theirs are made for a hundred thousand steps: after a thousand the averages would still be the first values.
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = NORM_MOMENTUM
    hidden = Backbone(network, weighted)(kind.preprocess(pixels))
    embedding = keras.layers.GlobalAveragePooling2D(dtype="float32", name="embedding")(hidden)
    logits = keras.layers.Dense(classes, name="head")(keras.layers.Dropout(DROPOUT)(embedding))
    logits = keras.layers.Reshape((1, classes), name="logits")(logits)
    return keras.Model(pixels, [logits, embedding], name="image")


def head_of(model: keras.Model) -> list[Any]:
    """The variables that are not the backbone's."""
    return list(model.get_layer("head").trainable_variables)


def load_weights(model: keras.Model, file: Path, backbone: str) -> None:
    """The backbone's weights from a file in one of Keras's formats. Raises TrainingFailed if they are not all in it.

    From a .keras file the arrays alone are read: neither the network nor any code that it may describe.
    """
    suffix = _suffix(file)
    network = model.get_layer("backbone").network
    # Some formats pass over what they don't find, with a warning at most: what stays empty tells.
    network.set_weights([np.full(one.shape, np.nan, np.float32) for one in network.weights])
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / f"weights{suffix}"  # Keras goes by the name
        try:
            named.symlink_to(file.resolve())
        except OSError:
            shutil.copyfile(file, named)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network.load_weights(named)
        except (ValueError, KeyError, OSError, TypeError) as error:
            why = f"{error}".partition("\n")[0][:200]
            raise TrainingFailed(f"the weights are not those of {backbone}: {why} {ADVICE}") from None
    empty = sum(not np.isfinite(one).all() for one in network.get_weights())
    if empty:
        raise TrainingFailed(
            f"the weights are not those of {backbone}: {empty} of {len(network.weights)} arrays are not in the file, "
            f"or hold what is no number. {ADVICE}"
        )


def _suffix(file: Path) -> str:
    """By what is in the file: .keras, .weights.h5, or .h5 as keras.applications publishes them."""
    if zipfile.is_zipfile(file):
        return ".keras"
    if not h5py.is_hdf5(file):
        raise TrainingFailed("the weights are in no format of Keras: .h5, .weights.h5 or .keras")
    with h5py.File(file) as found:
        named = any(name.startswith("layer_names") for name in found.attrs)
        return ".h5" if named or "model_weights" in found else ".weights.h5"


class BackboneBatches(ImageBatches):
    """Batches of one size throughout: what a backbone has learnt of pictures of one size holds for that size."""

    late_share = 0.0
    optimizer, learning_rate, weight_decay = "adamw", 1e-3, 0.05

    def side(self, epoch: int) -> int:
        return self.image_size


class WeightedBatches(BackboneBatches):
    """For a backbone that knows pictures already."""

    epochs = 40
