"""Fits a pretrained network to pictures: a head on frozen embeddings, then fine-tunes the last stage if that helps.

The head is computed directly; cross-validation within the train split chooses its shrinkage. The last stage is
fine-tuned only if enough tune examples are wrong to measure a gain, and the result is kept only if there is one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.inference.contract import PictureFeatures
from common.inference.pictures import View, decode_picture, picture_view, square_view
from common.json_types import Json
from common.pipelines import Pipeline
from train.errors import TrainingFailed
from train.fit.backbones import build_backbone, freeze, last_stage
from train.fit.decoded_pictures import DECODER_THREADS, decode_all, mapped_array
from train.fit.fitted import FitOptions, Fitted, Unseen
from train.fit.heatmap import with_heat
from train.fit.image_batches import FineTuning, cached_size
from train.fit.novelty import NearestLabel
from train.fit.preprocessing import Labelled, Preprocessing
from train.fit.training_loop import Fit, predict_joined
from train.statistics.calibration import best_temperature, softmax
from train.statistics.discriminant import CrossValidation, cross_validate, discriminant, label_statistics, moments
from train.statistics.metrics import log_loss

LOG = logging.getLogger("sabueso.train")
CHUNK, REPORT_EVERY = 32, 256
# Largest share of the time for computing embeddings. At least MIN_PICTURES are embedded, however long that takes.
EMBEDDING_SHARE, MIN_PICTURES = 0.6, 512
# With fewer wrong answers on tune, no gain from fine-tuning can be measured.
MIN_ERRORS = 5
# Embeddings whose novelty is computed at once.
NOVELTY_CHUNK = 4096
# With a smaller share of the time left, fine-tuning the last stage is not worth it.
MIN_FINE_TUNING_SHARE = 0.2


def fit_pretrained(
    pipeline: Pipeline, preprocessing: Preprocessing, train: Labelled, tune: Labelled, options: FitOptions
) -> Fitted:
    """Fit head and, if it helps, last stage. Raises TrainingFailed if the backbone's weights are missing or wrong."""
    seed, size, classes = pipeline.train.seed, pipeline.image_size, len(pipeline.labels)
    began = time.monotonic()
    options.on_stage(f"loading {pipeline.backbone}", 0.0)
    network = build_backbone(pipeline.backbone, size, options.weights)
    model = build_classifier(network, classes)
    order = np.random.default_rng(seed).permutation(len(train[1]))
    inputs, labels = [train[0][index] for index in order], train[1][order]
    remaining_s = options.deadline - began
    embeddings = embed(model, inputs, preprocessing, options, began + EMBEDDING_SHARE * remaining_s)
    labels = labels[: embeddings.shape[1]]  # of the pictures that there was time for
    options.on_stage("fitting the head", EMBEDDING_SHARE)
    whole = moments(embeddings, labels, classes)
    validation, statistics = cross_validate(embeddings, labels, whole, seed), label_statistics(whole)
    head = discriminant(statistics, validation.shrinkage).head(validation.temperature)
    model.get_layer("head").set_weights(head)
    params: dict[str, Json] = {"pictures": len(labels), "views": len(embeddings)}
    params["shrinkage"] = validation.shrinkage
    params["cross_validated"] = round(float((validation.logits.argmax(axis=1) == labels).mean()), 4)
    encoded_tune = preprocessing.encode(tune[0])
    frozen_logits = predict_joined(model, encoded_tune)[0]
    wrong, min_seconds = int((frozen_logits.argmax(axis=1) != tune[1]).sum()), MIN_FINE_TUNING_SHARE * remaining_s
    if wrong >= MIN_ERRORS and options.deadline - time.monotonic() > min_seconds:
        options.on_stage("decoding pictures for the last stage", EMBEDDING_SHARE)
        pictures = _decode_for_crops(inputs[: len(labels)], size, options)
        if pictures is not None and options.deadline - time.monotonic() > min_seconds:
            frozen_weights = model.get_weights()
            freeze(network, trainable=last_stage(network))
            batches = FineTuning(pictures, labels, classes, seed, size)
            fit = Fit(model, batches, (encoded_tune, tune[1]), options.checkpoint, options.on_epoch)
            plan = fit.run(options.deadline - time.monotonic(), options.epochs)
            if is_improved(frozen_logits, predict_joined(model, encoded_tune)[0], tune[1]):
                return Fitted(
                    with_heat(model, size),
                    preprocessing,
                    {**params, **plan.model_dump(exclude_none=True), "fine_tuned": True},
                    fit.curve,
                )
            model.set_weights(frozen_weights)
    novelty = NearestLabel(statistics)
    unseen = Unseen(validation.logits, labels, _unseen_novelty(embeddings[0], validation))
    return Fitted(with_heat(model, size), preprocessing, {**params, "fine_tuned": False}, [], novelty, unseen)


def _decode_for_crops(files: Sequence[bytes], size: int, options: FitOptions) -> np.ndarray | None:
    """Decoded pictures to take crops from; None if the disk is full: the head works without fine-tuning."""
    try:
        return decode_all(files, square_view(cached_size(size)), options.scratch)
    except TrainingFailed as error:
        LOG.warning("the last stage is not fine-tuned: %s", error.detail)
        return None


def build_classifier(network: keras.Model, classes: int) -> keras.Model:
    """Pixels -> logits (n, 1, classes) and embedding (n, d): the mean of the last feature map, scaled to length 1."""
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(network.output)
    embedding = keras.layers.UnitNormalization(name="embedding")(mean)
    logits = keras.layers.Dense(classes, name="head")(embedding)
    return keras.Model(network.input, [keras.ops.expand_dims(logits, 1), embedding], name="pretrained")


def embed(
    model: keras.Model, files: Sequence[bytes], preprocessing: Preprocessing, options: FitOptions, deadline: float
) -> np.ndarray:
    """Embeddings (views, n, d) float32 of the pictures and, if there is time, of their mirror images as second view.

    Covers only the first n pictures if there is no time for all. Raises Unusable for a file that is not a picture.
    """
    view = _view(preprocessing)
    forward = tf.function(lambda pixels: model(pixels, training=False)[1], reduce_retracing=True)
    first = np.stack([decode_picture(file, view, None) for file in files[:CHUNK]]).astype(np.float32)
    width = forward(tf.constant(first)).shape[1]
    began = time.monotonic()
    forward(tf.constant(first))
    expected_s = (time.monotonic() - began) * len(files) / len(first)
    views = 2 if time.monotonic() + 2 * expected_s < deadline else 1
    embeddings = mapped_array(options.scratch / "embeddings.npy", (views, len(files), width), np.dtype(np.float32))
    done = 0
    for pixels in _decoded_chunks(files, view):
        embeddings[0, done : done + len(pixels)] = forward(tf.constant(pixels))
        if views == 2:
            embeddings[1, done : done + len(pixels)] = forward(tf.constant(pixels[:, :, ::-1]))
        done += len(pixels)
        if done % REPORT_EVERY < CHUNK:
            options.on_stage(f"embedding pictures: {done} of {len(files)}", EMBEDDING_SHARE * done / len(files))
        if time.monotonic() > deadline and done >= MIN_PICTURES:
            break
    return embeddings[:, :done]


def _decoded_chunks(files: Sequence[bytes], view: View) -> Iterator[np.ndarray]:
    """Pictures in chunks; the next chunk is decoded while the caller works on the current one."""
    with ThreadPoolExecutor(DECODER_THREADS) as pool:
        following: list[Any] = []
        for start in range(0, len(files) + CHUNK, CHUNK):
            current, chunk = following, files[start : start + CHUNK]
            following = [pool.submit(decode_picture, file, view, None) for file in chunk]
            if current:
                yield np.stack([picture.result() for picture in current]).astype(np.float32)


def is_improved(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> bool:
    """Whether log loss fell by more than its standard error without more wrong answers.

    `before`, `after`: logits of the tune split; each log loss is taken at its best temperature.
    """
    both = (before, after)
    wrong = [(logits.argmax(axis=1) != labels).sum() for logits in both]
    losses = [log_loss(softmax(logits, best_temperature(logits, labels)[0]), labels) for logits in both]
    gain = losses[0] - losses[1]
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)) and wrong[1] <= wrong[0])


def _unseen_novelty(embeddings: np.ndarray, validation: CrossValidation) -> np.ndarray:
    """The novelty of each embedding (n, d), measured by a layer fitted on the other folds."""
    novelty = np.empty(len(embeddings), np.float32)
    for fold, statistics in enumerate(validation.statistics):
        chosen, layer = np.flatnonzero(validation.folds == fold), NearestLabel(statistics)
        for start in range(0, len(chosen), NOVELTY_CHUNK):
            indices = chosen[start : start + NOVELTY_CHUNK]
            novelty[indices] = layer(embeddings[indices])
    return novelty


def _view(preprocessing: Preprocessing) -> View:
    if not isinstance(preprocessing.features, PictureFeatures):
        raise TypeError("rows have no view")
    return picture_view(preprocessing.features)
