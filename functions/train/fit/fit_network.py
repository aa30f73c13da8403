"""Prepares the inputs and fits the network, pretrained or from scratch."""

from __future__ import annotations

import keras

from common.pipelines import Pipeline
from train.fit.fitted import FitOptions, Fitted
from train.fit.from_scratch import fit_from_scratch
from train.fit.preprocessing import Labelled, prepare
from train.fit.pretrained import fit_pretrained


def fit_network(pipeline: Pipeline, train: Labelled, tune: Labelled, options: FitOptions) -> Fitted:
    """Fit preprocessing and network, seeded.

    Raises TrainingFailed if a backbone's weights are unavailable or belong to another network.
    """
    keras.utils.set_random_seed(pipeline.train.seed)
    preprocessing = prepare(pipeline, train[0], options.scratch)
    fit = fit_pretrained if pipeline.is_pretrained else fit_from_scratch
    return fit(pipeline, preprocessing, train, tune, options)
