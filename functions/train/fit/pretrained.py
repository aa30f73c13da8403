"""Pictures by a network that knows pictures already: a head on its frozen embeddings, then, if it pays, its last stage.

The head is fitted in one step and chosen by cross-validation inside the train part. The last stage learns further only
where enough of the tune part is answered wrong to show a gain, and is kept only if there was one.
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

from common.errors import TrainingFailed
from common.pictures import View, decode_picture, picture_view, square_view
from common.pipelines import Pipeline
from train.bundle.calibration import best_temperature, softmax
from train.bundle.novelty import NearestLabel
from train.fit.backbones import build_backbone, freeze, last_stage
from train.fit.decoded import DECODERS, decode_all, mapped_array
from train.fit.discriminant import CrossValidation, cross_validate, discriminant, moments, spread_of
from train.fit.fit import Fit, predict_both
from train.fit.heat import with_heat
from train.fit.image_batches import FineTuning, cached_size
from train.fit.preparation import Fitted, Part, Preparation, Terms, Unseen
from train.judge.metrics import log_loss

LOG = logging.getLogger("sabueso.train")
CHUNK, REPORT_EVERY = 32, 256
# The embeddings take so much of the time at most. So many pictures are looked at, however long it takes.
EMBEDDING_SHARE, LEAST_PICTURES = 0.6, 512
# So few wrong answers on tune can't show that another network is better.
LEAST_ERRORS = 5
# Embeddings that are compared at once.
PART = 4096
# Less of the time is too little for the last stage to learn something.
TUNING_SHARE = 0.2


def fit_pretrained(pipeline: Pipeline, preparation: Preparation, train: Part, tune: Part, terms: Terms) -> Fitted:
    """Raises TrainingFailed if the backbone's weights can't be had, or are not its own."""
    seed, size, count = pipeline.train.seed, pipeline.train.image_size, len(pipeline.labels)
    began = time.monotonic()
    terms.on_stage(f"loading {pipeline.train.backbone}", 0.0)
    network = build_backbone(pipeline.train.backbone, size, terms.weights)
    model = build_classifier(network, count)
    order = np.random.default_rng(seed).permutation(len(train[1]))
    inputs, labels = [train[0][place] for place in order], train[1][order]
    left = terms.until - began
    embeddings = embed(model, inputs, preparation, terms, began + EMBEDDING_SHARE * left)
    seen = labels[: embeddings.shape[1]]
    terms.on_stage("fitting the head", EMBEDDING_SHARE)
    whole = moments(embeddings, seen, count)
    found, spread = cross_validate(embeddings, seen, whole, seed), spread_of(whole)
    model.get_layer("head").set_weights(discriminant(spread, found.shrinkage).head(found.temperature))
    plan: dict[str, Any] = {"pictures": len(seen), "views": len(embeddings), "shrinkage": found.shrinkage}
    plan["cross_validated"] = round(float((found.logits.argmax(axis=1) == seen).mean()), 4)
    encoded = preparation.encode(tune[0])
    answers = predict_both(model, encoded)[0]
    wrong, enough = int((answers.argmax(axis=1) != tune[1]).sum()), TUNING_SHARE * left
    if wrong >= LEAST_ERRORS and terms.until - time.monotonic() > enough:
        terms.on_stage("decoding pictures for the last stage", EMBEDDING_SHARE)
        crops = _crops(inputs[: len(seen)], size, terms)
        if crops is not None and terms.until - time.monotonic() > enough:
            frozen = model.get_weights()
            freeze(network, but=last_stage(network))
            batches = FineTuning(crops, seen, count, seed, size)
            fit = Fit(model, batches, (encoded, tune[1]), terms.checkpoint, terms.on_epoch)
            fine = fit.run(terms.until - time.monotonic(), terms.epochs)
            if has_gained(answers, predict_both(model, encoded)[0], tune[1]):
                return Fitted(with_heat(model, size), preparation, {**plan, **fine, "fine_tuned": True}, fit.curve)
            model.set_weights(frozen)
    novelty = NearestLabel(spread)
    unseen = Unseen(found.logits, seen, _distances(embeddings[0], found))
    return Fitted(with_heat(model, size), preparation, {**plan, "fine_tuned": False}, [], novelty, unseen)


def _crops(files: Sequence[bytes], size: int, terms: Terms) -> np.ndarray | None:
    """What training crops are taken from; None where the disk has no room for it: the head is there all the same."""
    try:
        return decode_all(files, square_view(cached_size(size)), terms.scratch)
    except TrainingFailed as error:
        LOG.warning("the last stage does not learn: %s", error.detail)
        return None


def build_classifier(network: keras.Model, classes: int) -> keras.Model:
    """Pixels -> logits (n, 1, classes) and embedding (n, d): the mean over the places of the last map, at length 1."""
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(network.output)
    embedding = keras.layers.UnitNormalization(name="embedding")(mean)
    logits = keras.layers.Dense(classes, name="head")(embedding)
    return keras.Model(network.input, [keras.ops.expand_dims(logits, 1), embedding], name="pretrained")


def embed(
    model: keras.Model, files: Sequence[bytes], preparation: Preparation, terms: Terms, until: float
) -> np.ndarray:
    """Embeddings (views, n, d) float32 of pictures, and of their mirror images where the time is enough for both.

    Of the first n pictures, where it is not enough for all. Raises Unusable for what is no picture.
    """
    view = picture_view(preparation.features)
    forward = tf.function(lambda pixels: model(pixels, training=False)[1], reduce_retracing=True)
    first = np.stack([decode_picture(file, view) for file in files[:CHUNK]]).astype(np.float32)
    width = forward(tf.constant(first)).shape[1]
    began = time.monotonic()
    forward(tf.constant(first))
    taken = (time.monotonic() - began) * len(files) / len(first)
    views = 2 if time.monotonic() + 2 * taken < until else 1
    found = mapped_array(terms.scratch / "embeddings.npy", (views, len(files), width), np.dtype(np.float32))
    done = 0
    for pixels in _chunks(files, view):
        found[0, done : done + len(pixels)] = forward(tf.constant(pixels))
        if views == 2:
            found[1, done : done + len(pixels)] = forward(tf.constant(pixels[:, :, ::-1]))
        done += len(pixels)
        if done % REPORT_EVERY < CHUNK:
            terms.on_stage(f"looking at pictures: {done} of {len(files)}", EMBEDDING_SHARE * done / len(files))
        if time.monotonic() > until and done >= LEAST_PICTURES:
            break
    return found[:, :done]


def _chunks(files: Sequence[bytes], view: View) -> Iterator[np.ndarray]:
    """Decoded side by side, while the chunk before is looked at."""
    with ThreadPoolExecutor(DECODERS) as pool:
        ahead: list[Any] = []
        for at in range(0, len(files) + CHUNK, CHUNK):
            now, ahead = ahead, [pool.submit(decode_picture, file, view) for file in files[at : at + CHUNK]]
            if now:
                yield np.stack([one.result() for one in now]).astype(np.float32)


def has_gained(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> bool:
    """Whether log loss on tune, each at its best temperature, fell by more than its error, and no more is wrong."""
    wrong = [(one.argmax(axis=1) != labels).sum() for one in (before, after)]
    losses = [log_loss(softmax(one, best_temperature(one, labels)[0]), labels) for one in (before, after)]
    gain = losses[0] - losses[1]
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)) and wrong[1] <= wrong[0])


def _distances(embeddings: np.ndarray, found: CrossValidation) -> np.ndarray:
    """How far each embedding (n, d) is from what the spread of the other folds knows."""
    distances = np.empty(len(embeddings), np.float32)
    for fold, spread in enumerate(found.spreads):
        chosen, nearest = np.flatnonzero(found.folds == fold), NearestLabel(spread)
        for at in range(0, len(chosen), PART):
            places = chosen[at : at + PART]
            distances[places] = nearest(embeddings[places])
    return distances
