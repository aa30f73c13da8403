"""The gate carried out: challenger and champion on the same raw holdout, the alias moved, the result kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.bundle import Bundle
from common.errors import AlreadyRunning
from common.features import canonical_row
from common.pipelines import Pipeline
from train.judge.champion import load_champion, move_champion, note_move, reason_of_move, tell_page
from train.judge.gate import Verdict, first_verdict, verdict
from train.judge.metrics import METRICS, counts_of
from train.snapshot import FRACTIONS, PARTS, SALT, Examples, part_of

if TYPE_CHECKING:
    from train.job import Job

HOLDOUT = PARTS.index("holdout")


def judge(pipeline: Pipeline, examples: Examples, answers: np.ndarray, theirs: Bundle | None) -> Verdict:
    """The gate: challenger and champion, each by its own bundle, on the same raw holdout.

    answers (n,): the challenger's to that holdout, as indices of the pipeline's labels.
    """
    inputs, labels = examples.of(HOLDOUT)
    classes = len(pipeline.labels)
    score = float(METRICS[pipeline.gate.metric](counts_of(labels, answers, classes)))
    if theirs is None:
        return first_verdict(pipeline.gate, score)
    odd = _incomparable(pipeline, theirs.contract)
    if odd:
        return Verdict("incomparable", f"{odd}: promote by hand if you want it", score)
    if pipeline.kind == "tabular":
        order = [[column.name for column in pipeline.inputs].index(one["name"]) for one in theirs.contract["columns"]]
        inputs = [tuple(row[place] for place in order) for row in inputs]
        # The hash of a row goes by the order of its columns: in another order the champion has learnt from most of it.
        unseen = np.array([part_of(canonical_row(row)) == HOLDOUT for row in inputs])
        inputs = [row for row, fresh in zip(inputs, unseen, strict=True) if fresh]
        labels, answers = labels[unseen], answers[unseen]
    known = {label: place for place, label in enumerate(pipeline.label_values)}
    # A label of the champion's that is ours no more gets an index that no true label has: a mistake.
    names = [label["value"] for label in theirs.contract["labels"]]
    place = np.array([known.get(name, classes + extra) for extra, name in enumerate(names)])
    others = place[theirs.predict(inputs)[0].argmax(axis=1)] if inputs else labels
    count = len(examples.hashes)
    return verdict(pipeline.gate, labels, answers, others, classes, count, theirs.contract["examples"])


def _incomparable(pipeline: Pipeline, contract: dict[str, Any]) -> str | None:
    split = contract["split"]
    if (split["salt"], tuple(split["fractions"])) != (SALT, FRACTIONS):
        return "the champion's split has another salt or other fractions, so it may have learnt from this holdout"
    if contract["kind"] != pipeline.kind:
        return f"the champion is of kind {contract['kind']}"
    theirs = {column["name"]: column["type"] for column in contract.get("columns") or []}
    ours = {column.name: column.type for column in pipeline.inputs}
    if gone := sorted(theirs.keys() - ours.keys()):
        return f"the champion needs columns that are no more: {', '.join(gone)}"
    if lacking := sorted(ours.keys() - theirs.keys()):
        return f"the champion lacks columns, so its split was another: {', '.join(lacking)}"
    changed = sorted(name for name in ours if ours[name] != theirs[name])
    return f"columns have another type than the champion's: {', '.join(changed)}" if changed else None


def decide(job: Job, examples: Examples, ours: Bundle, version: str, scratch: Path) -> Verdict:
    """Judge, then move the alias if the champion and the lease are still those of before; onto the version's page.

    Raises AlreadyRunning if the lease is another's now: then that one judges the version.
    """
    folder = scratch / "champion"
    folder.mkdir()
    name, wait = job.pipeline.name, job.patience
    known = wait(lambda: job.registry.version(name, version)) or {"tags": {}}
    before, champion, wrong = wait(lambda: load_champion(job.registry, job.settings, name, folder))
    answers = ours.predict(examples.of(HOLDOUT)[0])[0].argmax(axis=1)
    alone = judge(job.pipeline, examples, answers, None)
    if known["tags"].get("sabueso.rejected") == "true":
        found = Verdict("kept", "it was rolled back before it was judged: promote by hand if you want it", alone.score)
    elif before == version:  # an earlier execution moved the alias, and ended before it could say so
        reason = wait(lambda: reason_of_move(job.objects, name, version))
        found = Verdict("promoted", reason or "it serves already: the alias was moved by hand", alone.score)
    elif before is not None and champion is None:
        found = Verdict("incomparable", f"champion {before} can't be loaded: {wrong}", alone.score)
    else:
        found = judge(job.pipeline, examples, answers, champion)
        if found.decision == "promoted":
            found = _promote(job, version, before, found)
    wait(lambda: _describe(job, version, found))
    return found


def _promote(job: Job, version: str, before: str | None, found: Verdict) -> Verdict:
    name, wait = job.pipeline.name, job.patience
    write = note_move(name, version, before, found.reason, "gate")
    wait(lambda: write(job.objects))
    if wait(lambda: move_champion(job.registry, job.lease, name, version, before)):
        return found
    if job.lease.lost:
        raise AlreadyRunning("the lease was lost to another execution, which judges this version")
    return replace(found, decision="superseded", reason=f"the champion changed meanwhile; {found.reason}")


def _describe(job: Job, version: str, found: Verdict) -> None:
    """The gate's result onto the version's page."""
    known = job.registry.version(job.pipeline.name, version)
    if known is not None:
        tell_page(job.registry, job.pipeline.name, known, found)
