"""Writes the gate's result, or a move by hand, on a version's page."""

from __future__ import annotations

import re

from train.registry import ModelVersion, VersionRegistry
from train.tracking.page_text import AFTER_GATE, GATE, GATE_RESERVE, LIMIT, VERSION_PLACEHOLDER, cut
from train.verdict import Decision, Verdict


def with_verdict(page: str, version: str, verdict: Verdict, limit: int | None = LIMIT) -> str:
    """The page with the number of its version and the verdict. What a person wrote elsewhere on it stays."""
    page = re.sub(rf'(load_model\("models:/[^/"]+/){VERSION_PLACEHOLDER}"', rf'\g<1>{version}"', page)
    before, gate, rest = page.partition(GATE)
    _, after_gate, end = rest.partition(AFTER_GATE)
    if not gate or not after_gate:
        return page
    reason = verdict.reason
    if limit is not None:
        space = limit - len(before + GATE + after_gate + end)
        reason = cut(reason, max(0, min(GATE_RESERVE, space) - 40))
    return f"{before}{GATE}**{verdict.decision}**: {reason}{after_gate}{end}"[:limit]


def write_verdict(registry: VersionRegistry, pipeline: str, version: ModelVersion, verdict: Verdict) -> None:
    """Update the page in the registry. `version`: as it is there."""
    page = with_verdict(version.description, version.number, verdict)
    if page != version.description:
        registry.describe_version(pipeline, version.number, page)


def write_move(
    registry: VersionRegistry, pipeline: str, version: ModelVersion, decision: Decision, reason: str
) -> None:
    """Write a move by hand on the version's page; the gate's own result stays readable. `version`: before the move."""
    tags = version.tags
    has_verdict = tags.decision is not None and tags.reason is not None and tags.reason != reason
    before = f"; before: {tags.decision}, {tags.reason}" if has_verdict else ""
    write_verdict(registry, pipeline, version, Verdict(decision=decision, reason=f"{reason}{before}", score=0.0))
