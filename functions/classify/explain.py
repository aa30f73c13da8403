"""Why an answer is what it is: where in a picture the label was seen, which columns of a row spoke for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.bundle import Bundle
from common.network import Array
from common.pictures import picture_view, seen_region


def explain_pictures(
    files: Sequence[bytes], heat: Array, probabilities: Array, contract: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """`heat` (n, rows, columns, labels): what each part of a picture adds to each label's logit.

    Told is by how much a part speaks for the answered label more than for the others in the mean, as a share of the
    strongest part; 0 where it speaks against it. `region` is the part of the picture that the network sees: left, top,
    right and bottom as shares of its sides.
    """
    labels = [label["value"] for label in contract["labels"]]
    view = picture_view(contract["features"])
    best = probabilities.argmax(axis=1)
    found = []
    for file, one, place in zip(files, heat.astype(np.float64), best.tolist(), strict=True):
        own = one[..., place]
        others = (one.sum(axis=-1) - own) / max(1, one.shape[-1] - 1)
        ahead = np.maximum(own - others, 0)
        values = np.round(ahead / max(float(ahead.max()), 1e-9), 3)
        found.append(
            {
                "kind": "heatmap",
                "label": labels[place],
                "values": values.tolist(),
                "region": list(seen_region(file, view)),
            }
        )
    return found


def explain_rows(rows: list[tuple[Any, ...]], bundle: Bundle) -> tuple[Array, Array, list[dict[str, Any]]]:
    """Probabilities, novelty and an explanation of each row, by occlusion.

    A column's effect is the probability of the answered label less what it is once that column has its typical value
    (Robnik-Sikonja & Kononenko 2008, doi:10.1109/TKDE.2007.190734).
    """
    columns = bundle.contract["columns"]
    labels = [label["value"] for label in bundle.contract["labels"]]
    typical = [column["examples"][0] for column in columns]
    changed = [
        row if place is None else (*row[:place], typical[place], *row[place + 1 :])
        for row in rows
        for place in (None, *range(len(columns)))
    ]
    probabilities, novelty = bundle.predict(changed)
    each = probabilities.reshape(len(rows), len(columns) + 1, -1)
    found = []
    for row, answers in zip(rows, each, strict=True):
        best = int(answers[0].argmax())
        effects = np.round((answers[0, best] - answers[1:, best]).astype(np.float64), 6).tolist()
        told = [
            {"column": column["name"], "value": value, "typical": usual, "effect": effect}
            for column, value, usual, effect in zip(columns, row, typical, effects, strict=True)
        ]
        found.append({"kind": "effects", "label": labels[best], "effects": told})
    step = len(columns) + 1
    return probabilities[::step], novelty[::step], found
