"""Explains predictions: which parts of a picture, or which columns of a row, support the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.inference.bundle import Bundle
from common.inference.contract import Contract
from common.inference.network import Array
from common.inference.pictures import picture_view, seen_region
from common.json_types import JsonObject


def explain_pictures(files: Sequence[bytes], heat: Array, probabilities: Array, contract: Contract) -> list[JsonObject]:
    """A heatmap of each picture. `heat` (n, rows, columns, labels): what each part adds to the logit of each label.

    A value says how much more a part adds to the predicted label than to the others on average, as a share of the
    strongest part; 0 if it adds less. `region` is the part of the picture that the network sees: left, top, right and
    bottom as shares of its sides.
    """
    labels, view = contract.label_values, picture_view(contract.picture_features)
    best = probabilities.argmax(axis=1)
    explanations: list[JsonObject] = []
    for file, picture_heat, label in zip(files, heat.astype(np.float64), best.tolist(), strict=True):
        own = picture_heat[..., label]
        others = (picture_heat.sum(axis=-1) - own) / max(1, picture_heat.shape[-1] - 1)
        ahead = np.maximum(own - others, 0)
        values = np.round(ahead / max(float(ahead.max()), 1e-9), 3)
        explanations.append(
            {
                "kind": "heatmap",
                "label": labels[label],
                "values": values.tolist(),
                "region": list(seen_region(file, view)),
            }
        )
    return explanations


def explain_rows(rows: list[tuple[Any, ...]], bundle: Bundle) -> tuple[Array, Array, list[JsonObject]]:
    """Probabilities, novelty and an explanation of each row, by occlusion.

    The effect of a column is by how much the probability of the predicted label falls if the column gets its typical
    value (Robnik-Sikonja & Kononenko 2008, doi:10.1109/TKDE.2007.190734).
    """
    columns, labels = bundle.contract.columns, bundle.contract.label_values
    typical = [column.examples[0] for column in columns]
    probabilities, novelty = [], []
    explanations: list[JsonObject] = []
    for row in rows:  # one by one: the changed rows of all would take the square of the columns each
        changed = [(*row[:column], typical[column], *row[column + 1 :]) for column in range(len(columns))]
        answers, novelties = bundle.predict([row, *changed])
        probabilities.append(answers[:1])
        novelty.append(novelties[:1])
        best = int(answers[0].argmax())
        differences = np.round((answers[0, best] - answers[1:, best]).astype(np.float64), 6).tolist()
        effects = [
            {"column": column.name, "value": value, "typical": usual, "effect": effect}
            for column, value, usual, effect in zip(columns, row, typical, differences, strict=True)
        ]
        explanations.append({"kind": "effects", "label": labels[best], "effects": effects})
    return np.concatenate(probabilities), np.concatenate(novelty), explanations
