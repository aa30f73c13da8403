"""Where in a picture a label is seen: a third output of the network that answers."""

from __future__ import annotations

import keras


def with_heat(model: keras.Model, image_size: int, mirrored: bool = False) -> keras.Model:
    """What answers, for pictures of one size: logits, embedding and `heat` (n, rows, columns, classes).

    `mirrored`: the picture's mirror image is a second member.

    Heat is what each part of the picture adds to each logit, since the head is linear in the mean over them (class
    activation maps, Zhou et al. 2016, arXiv:1512.04150); up to a factor where the embedding is that mean at length 1.
    """
    seen = keras.Model(model.inputs, [*model.outputs, model.get_layer("mean").input])
    kernel = model.get_layer("head").get_weights()[0]
    layer = keras.layers.Conv2D(kernel.shape[1], 1, use_bias=False, name="heat")
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    logits, embedding, parts = seen(pixels)
    if mirrored:
        others = seen(keras.ops.flip(pixels, axis=2))
        logits, embedding = keras.ops.concatenate([logits, others[0]], axis=1), (embedding + others[1]) / 2
        parts = (parts + keras.ops.flip(others[2], axis=2)) / 2
    heat = layer(parts)
    layer.set_weights([kernel[None, None]])
    return keras.Model(pixels, [logits, embedding, heat], name="image_with_heat")
