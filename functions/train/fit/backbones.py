"""Pretrained networks for pictures: EfficientNet-Lite0 and several from keras.applications."""

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

from common.pipelines import INSTALLED
from train.errors import TrainingFailed
from train.fit.efficientnet_lite import build_efficientnet_lite0

ADVICE = "Use the file without the top layers: its name ends in `notop` or `no_top`."
# Seconds without a byte after which a download fails.
DOWNLOAD_TIMEOUT_S = 30.0
CAFFE_MEAN = (103.939, 116.779, 123.68)
KERAS: dict[str, Callable[..., keras.Model]] = {
    "mobilenet_v3_small": keras.applications.MobileNetV3Small,
    "mobilenet_v3_large": keras.applications.MobileNetV3Large,
    "efficientnet_v2_b0": keras.applications.EfficientNetV2B0,
    "resnet50": keras.applications.ResNet50,
}


def build_backbone(name: str, image_size: int, weights: Path | None = None) -> keras.Model:
    """Pixels 0..255 float32 (n, side, side, 3) -> last feature map (n, rows, columns, channels), in inference mode.

    `weights`: a file for a network of keras.applications. Without it, Keras downloads its ImageNet weights.
    Raises TrainingFailed if the weights are unavailable or belong to another network.
    """
    if name == INSTALLED:
        network = build_efficientnet_lite0(image_size)
    elif weights is None:
        network = _with_imagenet_weights(name, image_size)
    else:
        network = KERAS[name](include_top=False, weights=None, input_shape=(image_size, image_size, 3))
        load_weights(network, weights, name)
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    backbone = keras.Model(pixels, network(_caffe_pixels(pixels) if name == "resnet50" else pixels), name=name)
    freeze(backbone)
    return backbone


def _with_imagenet_weights(name: str, image_size: int) -> keras.Model:
    """The network with Keras's ImageNet weights. Keras checks the file and caches it in KERAS_HOME."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)  # Keras itself sets no timeout
    try:
        return KERAS[name](include_top=False, weights="imagenet", input_shape=(image_size, image_size, 3))
    except Exception as error:  # Keras raises a bare Exception if the download fails
        why = f"{error}".partition("\n")[0][:200]
        raise TrainingFailed(
            f"Keras's weights of {name} can't be downloaded: {why}. Without internet access, download the file "
            'elsewhere and set weights = { path = "...", sha256 = "..." }; '
            f'or use backbone = "{INSTALLED}", whose weights are installed'
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def _caffe_pixels(pixels: Any) -> Any:
    """Channels in the order blue, green, red, minus their ImageNet means: the input of the original ResNets."""
    return keras.ops.flip(pixels, axis=-1) - keras.ops.convert_to_tensor(CAFFE_MEAN)


def freeze(network: keras.Model, trainable: Sequence[keras.layers.Layer] = ()) -> None:
    """Freeze a backbone except for the layers in `trainable`.

    Frozen batch norms also keep their statistics during training.
    """
    network.trainable = True
    for layer in network.layers[-1].layers:
        layer.trainable = layer in trainable


def last_stage(network: keras.Model) -> list[keras.layers.Layer]:
    """The convolutions of a backbone whose output has the size of the last feature map."""
    inner = network.layers[-1]
    convolution_types = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    layers = [layer for layer in inner.layers if isinstance(layer, convolution_types)]
    larger = [index for index, layer in enumerate(layers) if layer.output.shape[1] > inner.output.shape[1]]
    return layers[max(larger) + 1 :]


def load_weights(network: keras.Model, file: Path, backbone: str) -> None:
    """Load weights from a file in one of Keras's formats. Raises TrainingFailed if any are missing.

    Only the arrays of a .keras file are read, never the network or code that it may describe.
    """
    suffix = _suffix(file)
    # Some formats skip missing arrays with at most a warning: arrays that are still NaN afterwards were missing.
    network.set_weights([np.full(weight.shape, np.nan, np.float32) for weight in network.weights])
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / f"weights{suffix}"  # Keras infers the format from the suffix
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
    missing = sum(not np.isfinite(weight).all() for weight in network.get_weights())
    if missing:
        raise TrainingFailed(
            f"the weights are not those of {backbone}: {missing} of {len(network.weights)} arrays are missing "
            f"or contain NaN. {ADVICE}"
        )


def _suffix(file: Path) -> str:
    """The suffix that the file's content calls for: .keras, .weights.h5, or .h5 as in keras.applications."""
    if zipfile.is_zipfile(file):
        return ".keras"
    if not h5py.is_hdf5(file):
        raise TrainingFailed("the weights are not in a Keras format (.h5, .weights.h5 or .keras)")
    with h5py.File(file) as content:
        has_layer_names = any(name.startswith("layer_names") for name in content.attrs)
        return ".h5" if has_layer_names or "model_weights" in content else ".weights.h5"
