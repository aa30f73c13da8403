"""The champion: loading it, and moving its alias. Every move is recorded before it happens."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from common.errors import BundleRefused
from common.inference.bundle import Bundle
from common.pipelines import PipelineHead
from common.storage.executions import StoredRecord, history
from common.storage.leases import Lease
from common.storage.object_store import ObjectStore
from common.timestamps import timestamp
from train.registry import VersionRegistry
from train.settings import TrainSettings

MAX_MOVES = 100


class AliasMove(StoredRecord):
    """One move of the alias. `by`: gate or person."""

    KIND: ClassVar[str] = "alias"

    version: str
    previous: str | None = None
    reason: str
    by: str


def new_move(version: str, previous: str | None, reason: str, by: str) -> AliasMove:
    """The record of a move, to be stored with `write_once` before the alias moves."""
    return AliasMove.new(state="finished", ended=timestamp(), version=version, previous=previous, reason=reason, by=by)


def moves(store: ObjectStore, pipeline: str) -> list[AliasMove]:
    """The recorded moves, newest first."""
    return [execution.record for execution in history(store, pipeline, AliasMove, limit=MAX_MOVES)]


def load_champion(
    registry: VersionRegistry, settings: TrainSettings, pipeline: PipelineHead, folder: Path
) -> tuple[str | None, Bundle | None, str]:
    """Version and bundle of the champion, and why its bundle was refused if it was."""
    version = registry.version_of(pipeline.name)
    if version is None:
        return None, None, ""
    try:
        registry.download_bundle(pipeline.name, version, folder)
        return version, Bundle(folder, settings.secret("bundle-key"), pipeline.identity), ""
    except BundleRefused as error:
        return version, None, error.detail


def move_champion(registry: VersionRegistry, lease: Lease, pipeline: str, version: str, expected: str | None) -> bool:
    """Point the alias at the version, unless it no longer points at `expected` or the lease was lost.

    Safe to repeat. Raises StoreUnavailable, RegistryUnavailable.
    """
    current = registry.version_of(pipeline)
    if not lease.confirm() or current not in (expected, version):
        return False
    registry.move_alias(pipeline, version)
    return True
