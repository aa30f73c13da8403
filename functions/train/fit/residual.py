"""A small residual network trained from scratch, for pictures that are not photographs."""

from __future__ import annotations

from typing import Any

import keras

WIDTHS = (24, 48, 96, 144)
DROPOUT = 0.2
# Keras's default of 0.99 averages over 100 steps, which is many epochs of a small dataset.
NORM_MOMENTUM = 0.9


def build_residual(classes: int) -> keras.Model:
    """Pixels 0..255 float32 (n, side, side, 3) of any size -> logits (n, 1, classes) and embedding (n, 144)."""
    pixels = keras.Input((None, None, 3), name="pixels")
    hidden = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    hidden = keras.layers.ReLU()(_convolution(hidden, WIDTHS[0], stride=2))
    for width in WIDTHS[1:]:
        hidden = _block(hidden, width)
    embedding = keras.layers.GlobalAveragePooling2D(name="mean")(hidden)
    logits = keras.layers.Dense(classes, name="head")(keras.layers.Dropout(DROPOUT)(embedding))
    return keras.Model(pixels, [keras.ops.expand_dims(logits, 1), embedding], name="residual")


def _block(hidden: Any, width: int) -> Any:
    """Two convolutions and a shortcut (He et al. 2015, arXiv:1512.03385); halves height and width."""
    shortcut = _convolution(keras.layers.AveragePooling2D(2, padding="same")(hidden), width, kernel_size=1)
    hidden = keras.layers.ReLU()(_convolution(hidden, width, stride=2))
    return keras.layers.ReLU()(keras.layers.Add()([_convolution(hidden, width), shortcut]))


class Convolution(keras.layers.Layer):
    """A convolution without bias. Its kernel is a matrix (size * size * channels, filters), which Muon requires."""

    def __init__(self, filters: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.filters, self.kernel_size, self.stride = filters, kernel_size, stride

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.channels = int(shape[-1] or 0)
        rows = self.kernel_size * self.kernel_size * self.channels
        self.kernel = self.add_weight(shape=(rows, self.filters), initializer="he_normal", name="kernel")

    def call(self, inputs: Any) -> Any:
        kernel = keras.ops.reshape(self.kernel, (self.kernel_size, self.kernel_size, self.channels, self.filters))
        return keras.ops.conv(inputs, kernel, self.stride, "same")


def _convolution(hidden: Any, width: int, kernel_size: int = 3, stride: int = 1) -> Any:
    return keras.layers.BatchNormalization(momentum=NORM_MOMENTUM)(Convolution(width, kernel_size, stride)(hidden))
