"""Adds an output that shows where in a picture the evidence for each label is."""

from __future__ import annotations

import keras


def with_heat(model: keras.Model, image_size: int, mirrored: bool = False) -> keras.Model:
    """The network for pictures of one size: logits, embedding and `heat` (n, rows, columns, classes).

    `mirrored`: the network also answers the mirror image, as a second member.

    Heat is the contribution of each region to each logit: the head is linear in the mean over the regions (class
    activation maps, Zhou et al. 2016, arXiv:1512.04150). If the embedding is that mean scaled to length 1, heat is
    proportional to the contribution.
    """
    with_map = keras.Model(model.inputs, [*model.outputs, model.get_layer("mean").input])
    kernel = model.get_layer("head").get_weights()[0]
    layer = keras.layers.Conv2D(kernel.shape[1], 1, use_bias=False, name="heat")
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    logits, embedding, feature_map = with_map(pixels)
    if mirrored:
        mirror_logits, mirror_embedding, mirror_map = with_map(keras.ops.flip(pixels, axis=2))
        logits = keras.ops.concatenate([logits, mirror_logits], axis=1)
        embedding = (embedding + mirror_embedding) / 2
        feature_map = (feature_map + keras.ops.flip(mirror_map, axis=2)) / 2
    heat = layer(feature_map)
    layer.set_weights([kernel[None, None]])
    return keras.Model(pixels, [logits, embedding, heat], name="image_with_heat")
