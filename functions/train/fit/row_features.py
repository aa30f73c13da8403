"""Fits the preprocessing of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.inference.contract import CategoryFeature, Column, CyclicFeature, Feature, NumberFeature
from common.inference.features import Value


def fit_features(rows: Sequence[Sequence[Value]], columns: Sequence[Column]) -> list[Feature]:
    """One feature per column, fitted on the train split only.

    Numbers: centre and scale from the quantiles, as in RealMLP (Holzmueller et al. 2024, arXiv:2407.04491, 2.1).
    Categories: the vocabulary, sorted.
    """
    features: list[Feature] = []
    for index, column in enumerate(columns):
        if column.type == "category":
            vocabulary = set(column.values or ()) | {str(row[index]) for row in rows}
            features.append(CategoryFeature(name=column.name, vocabulary=sorted(vocabulary)))
        elif column.cyclic:
            features.append(CyclicFeature(name=column.name, period=float(column.cyclic)))
        else:
            values = np.array([row[index] for row in rows], dtype=np.float64)
            low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
            scale = high - low if high > low else (values.max() - values.min()) / 2
            features.append(NumberFeature(name=column.name, centre=float(centre), scale=float(scale) or 1.0))
    return features
