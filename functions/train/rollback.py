"""Returns to the previous champion."""

from __future__ import annotations

from common.errors import Unusable
from common.storage.executions import write_once
from common.storage.object_store import ObjectStore
from train.gate.champion import moves, new_move
from train.registry import VersionRegistry
from train.tracking.version_page import write_move
from train.version_tags import rejected_tags


def rollback(store: ObjectStore, registry: VersionRegistry, pipeline: str) -> tuple[str, str]:
    """Return to the previous champion and reject the current one; both versions. Raises Unusable if there is none."""
    current = registry.version_of(pipeline)
    previous = _previous_champion(store, registry, pipeline, current)
    # The alias moves last: if a rollback fails halfway, repeating it must not choose the version being left.
    reason = f"rolled back from version {current}"
    write_once(store, pipeline, new_move(previous, current, reason, "person"))
    left = None if current is None else registry.version(pipeline, current)
    if current is not None and left is not None:
        reason = f"rolled back to version {previous} by hand"
        registry.tag_version(pipeline, current, rejected_tags(reason))
        write_move(registry, pipeline, left, "rejected", reason)
    registry.move_alias(pipeline, previous)
    return previous, current or ""


def _previous_champion(store: ObjectStore, registry: VersionRegistry, pipeline: str, current: str | None) -> str:
    recorded, versions = moves(store, pipeline), registry.versions(pipeline)
    rejected = {version.number for version in versions if version.tags.is_rejected}
    # A move is recorded before it happens: its record alone does not prove that a version served.
    promoted = {version.number for version in versions if version.tags.decision == "promoted"}
    candidates = [move.version for move in recorded if move.version in promoted]
    candidates += [move.previous for move in recorded if move.previous is not None]
    for number in candidates:
        if number != current and number not in rejected and registry.version(pipeline, number):
            return number
    raise Unusable(f"{pipeline} has no earlier champion to go back to")
