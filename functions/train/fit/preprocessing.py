"""Preprocessing, fitted on the train split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.inference.contract import PictureFeatures, RowFeatures
from common.inference.features import encode_rows
from common.inference.pictures import picture_view, square_view, view_features
from common.pipelines import Pipeline
from train.fit.decoded_pictures import decode_all
from train.fit.row_features import fit_features

# A network trained on crops sees this share of the central square, so that objects appear as large as in the crops
# (Touvron et al. 2019, arXiv:1906.06423).
CENTRE = 7 / 8
# Inputs and label indices (n,).
Labelled = tuple[Sequence[Any], np.ndarray]


@dataclass(frozen=True)
class Preprocessing:
    """Fitted preprocessing. `features` goes into the contract; `folder` is for memory-mapped decoded pictures."""

    features: RowFeatures | PictureFeatures
    folder: Path | None = None

    @property
    def is_image(self) -> bool:
        return isinstance(self.features, PictureFeatures)

    def encode(self, inputs: Sequence[Any]) -> np.ndarray:
        """Raw inputs -> (n, width) float32 of rows, or (n, side, side, 3) uint8 of pictures."""
        if isinstance(self.features, PictureFeatures):
            return decode_all(inputs, picture_view(self.features), self.folder)
        return encode_rows(inputs, self.features.columns)


def prepare(pipeline: Pipeline, train_inputs: Sequence[Any], folder: Path | None = None) -> Preprocessing:
    """Preprocessing, fitted on the train split only."""
    if pipeline.kind == "image":
        view = square_view(pipeline.image_size, 1.0 if pipeline.is_pretrained else CENTRE)
        return Preprocessing(view_features(view), folder)
    return Preprocessing(RowFeatures(columns=fit_features(train_inputs, pipeline.inputs)))
