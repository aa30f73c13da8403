"""A small contract, for tests that need no network."""

from __future__ import annotations

from typing import Any

from common.inference.contract import (
    Contract,
    Interval,
    Label,
    LabelMetrics,
    Metrics,
    PictureFeatures,
    SplitRule,
    Thresholds,
    Title,
)

FIGURE = Interval(value=0.9, low=0.8, high=1.0)


def make_contract(**changes: Any) -> Contract:
    """The contract of a version that separates cats from dogs, with these fields changed."""
    labels = [Label(value="cat", en="Cat", es="Gato"), Label(value="dog", en="Dog", es="Perro")]
    contract = Contract(
        pipeline="pets",
        kind="image",
        title=Title(en="Pets", es="Mascotas"),
        labels=labels,
        target="",
        features=PictureFeatures(image_size=65, centre=0.75),
        split=SplitRule(salt="sabueso-1", fractions=(0.7, 0.1, 0.2)),
        temperature=1.0,
        thresholds=Thresholds(sure=0.8, novelty=3.0),
        metrics=Metrics(holdout_size=20, accuracy=FIGURE, macro_f1=FIGURE, log_loss=FIGURE, calibration_error=FIGURE),
        per_class=[LabelMetrics(label=label.value, support=10, precision=FIGURE, recall=FIGURE) for label in labels],
        snapshot="0" * 64,
        settings_fingerprint="1" * 64,
        examples=100,
        made_up=True,
        git_commit="unknown",
        trained_at="2026-01-01T00:00:00.000Z",
    )
    return contract.model_copy(update=changes)
