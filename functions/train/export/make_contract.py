"""The contract of a new version."""

from __future__ import annotations

from collections.abc import Sequence

from common.inference.contract import (
    Contract,
    Label,
    LabelMetrics,
    Metrics,
    PictureFeatures,
    RowFeatures,
    SplitRule,
    Title,
)
from common.pipelines import Pipeline
from common.timestamps import timestamp
from train.export.make_bundle import Export
from train.snapshot import FRACTIONS, SALT
from train.training_key import TrainingKey


def make_contract(
    pipeline: Pipeline,
    features: RowFeatures | PictureFeatures,
    export: Export,
    metrics: Metrics,
    per_class: Sequence[LabelMetrics],
    key: TrainingKey,
    *,
    examples: int,
    made_up: bool,
    git_commit: str,
) -> Contract:
    """Trained now. `sign_bundle` adds the files and the signature."""
    return Contract(
        pipeline=pipeline.name,
        kind=pipeline.kind,
        title=Title(en=pipeline.title.en, es=pipeline.title.es),
        labels=[Label(value=label.value, en=label.en, es=label.es) for label in pipeline.labels],
        target=pipeline.target.column,
        columns=export.columns,
        features=features,
        split=SplitRule(salt=SALT, fractions=FRACTIONS),
        temperature=export.temperature,
        thresholds=export.thresholds,
        metrics=metrics,
        per_class=list(per_class),
        snapshot=key.snapshot,
        settings_fingerprint=key.settings_fingerprint,
        examples=examples,
        made_up=made_up,
        git_commit=git_commit,
        trained_at=timestamp(),
    )
