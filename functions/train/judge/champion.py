"""Who serves: moves of the alias by the gate or by hand, and back. Every move is recorded."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.bundle import Bundle
from common.errors import AlreadyRunning, BundleRefused, NotFound, Unusable
from common.executions import history, note
from common.leases import Lease
from common.objects import Objects
from common.registry import Registry
from common.settings import Settings
from train.judge.gate import Verdict
from train.report.model_card import with_verdict


def load_champion(
    registry: Registry, settings: Settings, name: str, folder: Path
) -> tuple[str | None, Bundle | None, str]:
    """Version and bundle of the champion, and what is wrong with it if it can't be loaded."""
    version = registry.version_of(name)
    if version is None:
        return None, None, ""
    try:
        registry.download_bundle(name, version, folder)
        return version, Bundle(folder, settings.secret("bundle-key")), ""
    except BundleRefused as error:
        return version, None, error.detail


def note_move(pipeline: str, version: str, previous: str | None, reason: str, by: str) -> Callable[[Objects], None]:
    """The record of a move of the alias, to be written before it: an alias that moved is always accounted for."""
    return note(pipeline, "alias", {"version": version, "previous": previous, "reason": reason, "by": by})


def reason_of_move(objects: Objects, pipeline: str, version: str) -> str | None:
    """The reason of the newest recorded move to the version."""
    moves = (record.body for record in history(objects, pipeline, "alias", most=100))
    return next((str(move["reason"]) for move in moves if move["version"] == version), None)


def move_champion(registry: Registry, lease: Lease, pipeline: str, version: str, before: str | None) -> bool:
    """Point the alias at the version, unless somebody moved it from `before` meanwhile or works under our lease.

    Asked again it looks again. Raises StoreUnavailable, RegistryUnavailable.
    """
    now = registry.version_of(pipeline)
    if not lease.confirm() or now not in (before, version):
        return False
    registry.move_alias(pipeline, version)
    return True


def promote(objects: Objects, registry: Registry, settings: Settings, pipeline: str, version: str) -> str | None:
    """Promotion by hand, which takes a rejection back. Raises NotFound, or Unusable if the bundle would be refused."""
    known = registry.version(pipeline, version)
    if known is None:
        raise NotFound(f"MLflow has no version {version} of {pipeline}")
    with tempfile.TemporaryDirectory(dir=_scratch(settings)) as folder:
        try:
            registry.download_bundle(pipeline, version, Path(folder))
            Bundle(Path(folder), settings.secret("bundle-key")).check_golden()
        except BundleRefused as error:
            raise Unusable(f"version {version} can't serve: {error.detail}") from None
    previous = registry.version_of(pipeline)
    note_move(pipeline, version, previous, "promoted by hand", "person")(objects)
    registry.move_alias(pipeline, version)
    told = {"decision": "promoted", "reason": "promoted by hand", "rejected": "false"}
    if known["tags"].get("sabueso.rejected") == "true":
        told["rejected_reason"] = "taken back: promoted by hand"
    registry.tag_version(pipeline, version, {f"sabueso.{key}": text for key, text in told.items()})
    tell_move(registry, pipeline, known, "promoted", "promoted by hand")
    return previous


def rollback(objects: Objects, registry: Registry, pipeline: str) -> tuple[str, str]:
    """Back to the champion before; the left one is tagged `rejected`. Raises Unusable if there was none."""
    now = registry.version_of(pipeline)
    moves = [record.body for record in history(objects, pipeline, "alias", most=100)]
    tags = {one["version"]: one["tags"] for one in registry.versions(pipeline)}
    left = {version for version, told in tags.items() if told.get("sabueso.rejected") == "true"}
    # A move is recorded before it happens: only a promoted version is sure to have served by its own record.
    served = {version for version, told in tags.items() if told.get("sabueso.decision") == "promoted"}
    before = [m["version"] for m in moves if m["version"] in served] + [m["previous"] for m in moves]
    for version in before:
        if version is not None and version != now and version not in left and registry.version(pipeline, version):
            break
    else:
        raise Unusable(f"{pipeline} had no other champion to go back to")
    # The alias last: whoever is told that it failed and asks again must not get the version back that they left.
    note_move(pipeline, version, now, f"rolled back from version {now}", "person")(objects)
    served_last = None if now is None else registry.version(pipeline, now)
    if now is not None and served_last is not None:
        why = f"rolled back to version {version} by hand"
        registry.tag_version(pipeline, now, {"sabueso.rejected_reason": why, "sabueso.rejected": "true"})
        tell_move(registry, pipeline, served_last, "rejected", why)
    registry.move_alias(pipeline, version)
    return version, now or ""


def tell_move(registry: Registry, pipeline: str, version: dict[str, Any], result: str, reason: str) -> None:
    """A move by hand onto the version's page, after which the gate's own result stays to be read. `version`: before."""
    tags = version["tags"]
    gate = tags.get("sabueso.decision"), tags.get("sabueso.reason")
    said = "" if None in gate or gate[1] == reason else f"; before: {gate[0]}, {gate[1]}"
    tell_page(registry, pipeline, version, Verdict(result, f"{reason}{said}", 0.0))


def tell_page(registry: Registry, pipeline: str, version: dict[str, Any], verdict: Verdict) -> None:
    """The verdict onto the version's page. `version`: as it is in the registry."""
    page, number = version.get("description", ""), str(version["version"])
    told = with_verdict(page, number, verdict)
    if told != page:
        registry.describe_version(pipeline, number, told)


def _scratch(settings: Settings) -> Path:
    settings.scratch.mkdir(parents=True, exist_ok=True)
    return settings.scratch


def ensure_idle(busy: bool, pipeline: str) -> None:
    if busy:
        raise AlreadyRunning(f"a training of {pipeline} is running; wait for it or cancel it, then move the champion")


def as_tags(verdict: Verdict) -> dict[str, str]:
    """The gate's result as tags of the version. The decision is the last: a version that has it has them all."""
    numbers = {
        "score": verdict.score,
        "champion_score": verdict.champion_score,
        "gain": verdict.gain,
        "bound": verdict.bound,
    }
    return {
        "sabueso.gate": json.dumps({key: value for key, value in numbers.items() if value is not None}),
        "sabueso.reason": verdict.reason,
        "sabueso.decision": verdict.decision,
    }


def metrics_of(version: dict[str, Any]) -> dict[str, float]:
    """The metrics that a version was tagged with."""
    try:
        return dict(json.loads(version["tags"].get("sabueso.metrics", "{}")))
    except ValueError:
        return {}
