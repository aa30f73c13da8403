"""Promotes a version by hand."""

from __future__ import annotations

import tempfile
from pathlib import Path

from common.errors import BundleRefused, NotFound, Unusable
from common.inference.bundle import Bundle
from common.pipelines import PipelineHead
from common.storage.executions import write_once
from common.storage.object_store import ObjectStore
from train.gate.champion import new_move
from train.registry import VersionRegistry
from train.settings import TrainSettings
from train.tracking.version_page import write_move
from train.version_tags import promoted_by_hand_tags

BY_HAND = "promoted by hand"


def promote(
    store: ObjectStore, registry: VersionRegistry, settings: TrainSettings, pipeline: PipelineHead, number: str
) -> str | None:
    """Make a version champion, which withdraws a rejection; returns the previous champion.

    Raises NotFound, or Unusable if classify would refuse its bundle.
    """
    name = pipeline.name
    version = registry.version(name, number)
    if version is None:
        raise NotFound(f"MLflow has no version {number} of {name}")
    settings.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.scratch) as folder:
        try:
            registry.download_bundle(name, number, Path(folder))
            Bundle(Path(folder), settings.secret("bundle-key"), pipeline.identity).check_golden()
        except BundleRefused as error:
            raise Unusable(f"version {number} can't serve: {error.detail}") from None
    previous = registry.version_of(name)
    write_once(store, name, new_move(number, previous, BY_HAND, "person"))
    registry.move_alias(name, number)
    registry.tag_version(name, number, promoted_by_hand_tags(BY_HAND, version.tags.is_rejected))
    write_move(registry, name, version, "promoted", BY_HAND)
    return previous
