"""Networks that know pictures already: EfficientNet-Lite0, and some of keras.applications."""

from __future__ import annotations

import shutil
import socket
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from common.errors import TrainingFailed
from common.pipeline_keys import INSTALLED
from train.fit.efficientnet_lite import build_efficientnet_lite0

ADVICE = "Take the file without the top: its name ends in `notop` or `no_top`."
# Of a download, without a byte.
DOWNLOAD_S = 30.0
CAFFE_MEAN = (103.939, 116.779, 123.68)
KERAS: dict[str, Callable[..., keras.Model]] = {
    "mobilenet_v3_small": keras.applications.MobileNetV3Small,
    "mobilenet_v3_large": keras.applications.MobileNetV3Large,
    "efficientnet_v2_b0": keras.applications.EfficientNetV2B0,
    "resnet50": keras.applications.ResNet50,
}


def build_backbone(name: str, image_size: int, weights: Path | None = None) -> keras.Model:
    """Pixels 0..255 float32 (n, side, side, 3) -> the last map (n, rows, columns, channels), in inference mode.

    `weights`: a file for a network of keras.applications; without it, what Keras publishes for ImageNet is downloaded.
    Raises TrainingFailed if the weights can't be had, or are not those of the network.
    """
    if name == INSTALLED:
        network = build_efficientnet_lite0(image_size)
    elif weights is None:
        network = _published(name, image_size)
    else:
        network = KERAS[name](include_top=False, weights=None, input_shape=(image_size, image_size, 3))
        load_weights(network, weights, name)
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    whole = keras.Model(pixels, network(_caffe(pixels) if name == "resnet50" else pixels), name=name)
    freeze(whole)
    return whole


def _published(name: str, image_size: int) -> keras.Model:
    """With Keras's own file for ImageNet, which Keras keeps in KERAS_HOME, and checks."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_S)  # Keras itself would wait for ever
    try:
        return KERAS[name](include_top=False, weights="imagenet", input_shape=(image_size, image_size, 3))
    except Exception as error:  # what Keras raises for whatever kept it from the file
        why = f"{error}".partition("\n")[0][:200]
        raise TrainingFailed(
            f"Keras's weights of {name} can't be downloaded: {why}. Where there is no internet, download the file "
            'elsewhere and name it: weights = { path = "...", sha256 = "..." }; '
            f'or take backbone = "{INSTALLED}", whose weights are installed'
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def _caffe(pixels: Any) -> Any:
    """Blue, green, red, less their means over ImageNet: pictures as the first residual networks had them."""
    return keras.ops.flip(pixels, axis=-1) - keras.ops.convert_to_tensor(CAFFE_MEAN)


def freeze(network: keras.Model, but: Sequence[keras.layers.Layer] = ()) -> None:
    """Let those layers of a backbone alone learn; batch norms that don't keep what they know, in training too."""
    network.trainable = True
    for layer in network.layers[-1].layers:
        layer.trainable = layer in but


def last_stage(network: keras.Model) -> list[keras.layers.Layer]:
    """The convolutions of a backbone after the last one at a larger size than its last map."""
    inner = network.layers[-1]
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    layers = [layer for layer in inner.layers if isinstance(layer, kinds)]
    larger = [place for place, one in enumerate(layers) if one.output.shape[1] > inner.output.shape[1]]
    return layers[max(larger) + 1 :]


def load_weights(network: keras.Model, file: Path, backbone: str) -> None:
    """The network's weights from a file in one of Keras's formats. Raises TrainingFailed if they are not all in it.

    From a .keras file the arrays alone are read: neither the network nor any code that it may describe.
    """
    suffix = _suffix(file)
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
