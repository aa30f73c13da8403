"""Carries out the gate: challenger and champion answer the same raw holdout, then the alias may move."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.errors import AlreadyRunning
from common.inference.bundle import Bundle
from common.inference.contract import Contract
from common.inference.features import canonical_row
from common.pipelines import Pipeline
from common.storage.executions import write_once
from train.context import TrainingContext
from train.gate.champion import load_champion, move_champion, moves, new_move
from train.gate.rule import first_verdict, verdict
from train.snapshot import FRACTIONS, SALT, Examples, Split, split_of
from train.statistics.metrics import METRICS, counts_of
from train.verdict import Verdict


def judge(pipeline: Pipeline, examples: Examples, answers: np.ndarray, champion: Bundle | None) -> Verdict:
    """Judge challenger and champion on the same raw holdout, each with its own bundle.

    answers (n,): the challenger's to that holdout, as indices of the pipeline's labels.
    """
    inputs, labels = examples.of(Split.HOLDOUT)
    classes = len(pipeline.labels)
    score = float(METRICS[pipeline.gate.metric](counts_of(labels, answers, classes)))
    if champion is None:
        return first_verdict(pipeline.gate, score)
    contract = champion.contract
    reason = _incomparable(pipeline, contract)
    if reason:
        return Verdict(decision="incomparable", reason=f"{reason}: promote by hand if you want it", score=score)
    if pipeline.kind == "tabular":
        names = [column.name for column in pipeline.inputs]
        order = [names.index(column.name) for column in contract.columns]
        inputs = [tuple(row[place] for place in order) for row in inputs]
        # With another column order every row gets another hash, so the champion has trained on most of this holdout.
        unseen = np.array([split_of(canonical_row(row)) == Split.HOLDOUT for row in inputs])
        inputs = [row for row, is_unseen in zip(inputs, unseen, strict=True) if is_unseen]
        labels, answers = labels[unseen], answers[unseen]
    known = {label: place for place, label in enumerate(pipeline.label_values)}
    # A label that only the champion has gets an index that no true label has: a mistake.
    place = np.array([known.get(name, classes + extra) for extra, name in enumerate(contract.label_values)])
    theirs = place[champion.predict(inputs)[0].argmax(axis=1)] if inputs else labels
    return verdict(pipeline.gate, labels, answers, theirs, classes, len(examples.hashes), contract.examples)


def _incomparable(pipeline: Pipeline, contract: Contract) -> str | None:
    """Why the champion can't answer this holdout, or may have trained on it."""
    if (contract.split.salt, contract.split.fractions) != (SALT, FRACTIONS):
        return "the champion's split has another salt or other fractions, so it may have trained on this holdout"
    if contract.kind != pipeline.kind:
        return f"the champion is of kind {contract.kind}"
    theirs = {column.name: column.type for column in contract.columns}
    ours = {column.name: column.type for column in pipeline.inputs}
    if removed := sorted(theirs.keys() - ours.keys()):
        return f"the champion needs columns that were removed: {', '.join(removed)}"
    if added := sorted(ours.keys() - theirs.keys()):
        return f"the champion lacks columns, so its split was different: {', '.join(added)}"
    changed = sorted(name for name in ours if ours[name] != theirs[name])
    return f"columns have another type than the champion's: {', '.join(changed)}" if changed else None


def decide(context: TrainingContext, examples: Examples, challenger: Bundle, version: str, scratch: Path) -> Verdict:
    """Judge, then move the alias if champion and lease have not changed meanwhile.

    Raises AlreadyRunning if the lease was lost: its new holder judges the version.
    """
    folder = scratch / "champion"
    folder.mkdir()
    name, retry = context.pipeline.name, context.retry
    stored = retry(lambda: context.registry.version(name, version))
    current, champion, refused = retry(
        lambda: load_champion(context.registry, context.settings, context.pipeline, folder)
    )
    answers = challenger.predict(examples.of(Split.HOLDOUT)[0])[0].argmax(axis=1)
    score = judge(context.pipeline, examples, answers, None).score
    if stored is not None and stored.tags.is_rejected:
        reason = "it was rolled back before it was judged: promote by hand if you want it"
        return Verdict(decision="kept", reason=reason, score=score)
    if current == version:  # an earlier execution moved the alias, and died before it recorded the decision
        recorded = retry(lambda: moves(context.store, name))
        reasons = [move.reason for move in recorded if move.version == version]
        reason = reasons[0] if reasons else "it serves already: the alias was moved by hand"
        return Verdict(decision="promoted", reason=reason, score=score)
    if current is not None and champion is None:
        reason = f"champion {current} can't be loaded: {refused}"
        return Verdict(decision="incomparable", reason=reason, score=score)
    judged = judge(context.pipeline, examples, answers, champion)
    return _promote(context, version, current, judged) if judged.decision == "promoted" else judged


def _promote(context: TrainingContext, version: str, current: str | None, judged: Verdict) -> Verdict:
    name, retry = context.pipeline.name, context.retry
    move = new_move(version, current, judged.reason, "gate")
    retry(lambda: write_once(context.store, name, move))
    if retry(lambda: move_champion(context.registry, context.lease, name, version, current)):
        return judged
    if context.lease.lost:
        raise AlreadyRunning("the lease was lost to another execution, which judges this version")
    reason = f"the champion changed meanwhile; {judged.reason}"
    return judged.model_copy(update={"decision": "superseded", "reason": reason})
