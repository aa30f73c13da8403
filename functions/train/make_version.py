"""From examples to a registered version: fit, evaluate, export, register, gate."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.bundle import NETWORK, Bundle, sign_bundle
from common.errors import AlreadyRunning, BundleRefused, RegistryUnavailable
from common.executions import timestamp
from common.network import Network
from train.champion import as_tags, judge, load_champion, metrics_of, move_champion, note_move
from train.checkpoint import Checkpoint
from train.gate import Verdict
from train.kinds import Preparation
from train.make_bundle import make_bundle
from train.make_network import Fitted, make_network
from train.metrics import evaluate
from train.plots import confusion_figure, curves_figure, reliability_figure
from train.snapshot import Examples
from train.tracking import Tracking

if TYPE_CHECKING:
    from train.job import Job

LOG = logging.getLogger("sabueso.train")
FIT_FROM, FIT_TO = 0.05, 0.85


def make_version(job: Job, examples: Examples, snapshot: str, settings: str) -> None:
    """Everything after the snapshot; ends the execution as `finished`."""
    began = time.monotonic()
    pipeline = job.pipeline
    tags = {"sabueso.pipeline": pipeline.name, "sabueso.snapshot": snapshot, "sabueso.settings": settings}
    tags |= {"sabueso.execution": job.execution.body["id"], "mlflow.source.git.commit": job.settings.git_commit}
    wait = job.patience
    tracking = wait(lambda: Tracking(pipeline, job.settings, job.execution.body["run_id"], tags))
    try:
        job.stage("preparing", 0.03, run_id=tracking.run_id, run_url=tracking.url)
        sizes = job.execution.body["sizes"]
        params = {"budget_s": job.budget_s, "seed": pipeline.train.seed}
        params |= {f"examples_{part}": size for part, size in sizes.items()}
        wait(lambda: tracking.params(params))
        source = f"datasets/{pipeline.name}/snapshots/{snapshot}.json"
        wait(lambda: tracking.dataset(snapshot, examples.labels, source, examples.made_up))
        checkpoint = _checkpoint(job, snapshot, settings)
        fitted = _fit(job, examples, tracking, checkpoint)
        with tempfile.TemporaryDirectory() as scratch:
            serving = Path(scratch) / "serving"
            serving.mkdir()
            contract, metrics = _export(job, examples, fitted, serving, snapshot, settings, tracking)
            job.stage("registering", 0.94, metrics=metrics)
            contract["trained_at"] = timestamp()
            sign_bundle(serving, contract, job.settings.secret("bundle-key"))
            bundle = Bundle(serving, job.settings.secret("bundle-key"))
            bundle.check_golden()
            raw, told = _example_inputs(fitted.preparation, examples), _told(contract, metrics)
            version = wait(lambda: tracking.register(serving, raw, _version_tags(tags, metrics), told))
            job.stage("gate", 0.97, version=version)
            verdict = _gate(job, examples, bundle, version, Path(scratch))
        wait(checkpoint.clear)
        shutil.rmtree(job.pictures, ignore_errors=True)
        wait(lambda: tracking.end("FINISHED"))
        _end(job, verdict, began)
    except AlreadyRunning:
        raise  # whoever works on this now goes on with the same run
    except BaseException:
        with contextlib.suppress(RegistryUnavailable):  # asked once: there was patience enough before
            tracking.end("FAILED")
        raise


def judge_left(job: Job, examples: Examples, version: dict[str, Any]) -> bool:
    """Bring a version to its end that an earlier execution registered but did not judge; False if it can't serve."""
    began = time.monotonic()
    name, number = job.pipeline.name, str(version["version"])
    job.stage("gate", 0.97, version=number, run_id=version.get("run_id"), metrics=metrics_of(version))
    with tempfile.TemporaryDirectory() as scratch:
        serving = Path(scratch) / "serving"
        serving.mkdir()
        try:
            job.patience(lambda: job.registry.download_bundle(name, number, serving))
            bundle = Bundle(serving, job.settings.secret("bundle-key"))
            bundle.check_golden()
        except BundleRefused as error:
            LOG.warning("version %s was left without a decision and can't serve: %s", number, error.detail)
            return False
        verdict = _gate(job, examples, bundle, number, Path(scratch))
    tags = version["tags"]
    job.patience(_checkpoint(job, tags["sabueso.snapshot"], tags["sabueso.settings"]).clear)
    job.patience(lambda: Tracking(job.pipeline, job.settings, version["run_id"], tags).end("FINISHED"))
    _end(job, verdict, began)
    return True


def _checkpoint(job: Job, snapshot: str, settings: str) -> Checkpoint:
    place = f"jobs/{job.pipeline.name}/checkpoints/{snapshot[:24]}-{settings[:8]}/"
    return Checkpoint(job.objects, place, job.patience)


def _end(job: Job, verdict: Verdict, began: float) -> None:
    seconds = round(time.monotonic() - began, 1)
    facts = {"decision": verdict.decision, "reason": verdict.reason, "progress": 1.0, "stage": "done"}
    job.end("finished", **facts, seconds=seconds)


def _fit(job: Job, examples: Examples, tracking: Tracking, checkpoint: Checkpoint) -> Fitted:
    def on_stage(stage: str) -> None:
        job.stage(stage, FIT_FROM)

    def on_epoch(done: int, total: int, facts: dict[str, float]) -> None:
        tracking.metrics(facts, step=done)
        job.tell(f"epoch {done} of {total}", FIT_FROM + (FIT_TO - FIT_FROM) * done / total)

    parts = examples.of(0), examples.of(1)
    fitted = make_network(job.pipeline, *parts, job.budget_s, checkpoint, job.pictures, on_epoch, on_stage)
    plan = {f"plan_{key}": value for key, value in fitted.plan.items()}
    job.patience(lambda: tracking.params({**plan, "weights": fitted.model.count_params()}))
    if fitted.curve:
        job.patience(lambda: tracking.curve(fitted.curve))
        job.patience(lambda: tracking.figure(curves_figure(fitted.curve), "learning_curves"))
    return fitted


def _export(
    job: Job, examples: Examples, fitted: Fitted, serving: Path, snapshot: str, settings: str, tracking: Tracking
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write the bundle's files; its contract without signature, and the plain metrics."""
    job.stage("exporting", FIT_TO)
    contract, apart = make_bundle(job.pipeline, fitted, examples.of(0), examples.of(1), serving)
    contract |= {
        "snapshot": snapshot,
        "settings": settings,
        "examples": len(examples.hashes),
        "made_up": examples.made_up,
        "git_commit": job.settings.git_commit,
        "trained_at": "",
    }
    job.stage("evaluating", 0.9)
    metrics = _evaluate(job, examples, contract, serving, fitted.preparation, tracking)
    tracking.metrics({**metrics, "export_apart": apart, "temperature": contract["temperature"]})
    return contract, metrics


def _evaluate(
    job: Job,
    examples: Examples,
    contract: dict[str, Any],
    serving: Path,
    preparation: Preparation,
    tracking: Tracking,
) -> dict[str, float]:
    """Metrics of the exported network on the holdout, into the contract and MLflow."""
    inputs, labels = examples.of(2)
    names = tuple(label["value"] for label in contract["labels"])
    probabilities, _ = Network(serving / NETWORK).predict(preparation.encode(inputs))
    contract["metrics"], contract["per_class"] = evaluate(probabilities, labels, names)
    wait, worst = job.patience, _worst(examples, probabilities, labels, names)
    wait(lambda: tracking.table(contract["per_class"], "per_class.json"))
    wait(lambda: tracking.figure(confusion_figure(probabilities, labels, names), "confusion_matrix"))
    wait(lambda: tracking.figure(reliability_figure(probabilities, labels), "reliability"))
    wait(lambda: tracking.table(worst, "worst_mistakes.json"))
    return {key: one["value"] for key, one in contract["metrics"].items() if isinstance(one, dict)}


def _worst(
    examples: Examples, probabilities: np.ndarray, labels: np.ndarray, names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The surest wrong answers of the holdout, by the example's hash."""
    hashes = [examples.hashes[index] for index in np.flatnonzero(examples.parts == 2)]
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = sorted(np.flatnonzero(answers != labels), key=lambda index: -confidence[index])[:50]
    return [
        {
            "example": hashes[index],
            "label": names[labels[index]],
            "answer": names[answers[index]],
            "confidence": round(float(confidence[index]), 4),
        }
        for index in wrong
    ]


def _example_inputs(preparation: Preparation, examples: Examples) -> list[Any]:
    inputs = examples.of(0)[0][:3]
    return list(preparation.encode(inputs)) if preparation.kind == "image" else inputs


def _version_tags(tags: dict[str, str], metrics: dict[str, float]) -> dict[str, str]:
    return {**tags, "sabueso.metrics": json.dumps(metrics)}


def _told(contract: dict[str, Any], metrics: dict[str, float]) -> str:
    """The version's description in MLflow, Markdown."""
    made_up = " **Made-up data.**" if contract["made_up"] else ""
    rows = "\n".join(
        f"| {name} | {one['value']:.4f} | {one['low']:.4f} to {one['high']:.4f} |"
        for name, one in contract["metrics"].items()
        if isinstance(one, dict)
    )
    table = f"| metric | value | 95 % interval |\n| --- | --- | --- |\n{rows}"
    size = contract["metrics"]["holdout_size"]
    return (
        f"{contract['title']['en']}: {contract['examples']} examples.{made_up}\n\n"
        f"On a holdout of {size}:\n\n{table}\n\nSnapshot `{contract['snapshot']}`."
    )


def _gate(job: Job, examples: Examples, ours: Bundle, version: str, scratch: Path) -> Verdict:
    """Judge, then move the alias if the champion and the lease are still those of before."""
    folder = scratch / "champion"
    folder.mkdir()
    name, wait = job.pipeline.name, job.patience
    before, champion, wrong = wait(lambda: load_champion(job.registry, job.settings, name, folder))
    if before == version:  # an earlier execution moved the alias, and ended before it could say so
        before, champion = None, None
    if before is not None and champion is None:
        verdict = Verdict("incomparable", f"champion {before} can't be loaded: {wrong}", float("nan"))
    else:
        verdict = judge(job.pipeline, examples, ours, champion)
    if verdict.decision == "promoted":
        write = note_move(name, version, before, verdict.reason, "gate")
        wait(lambda: write(job.objects))
        if not wait(lambda: move_champion(job.registry, job.lease, name, version, before)):
            verdict = Verdict("superseded", f"the champion changed meanwhile; {verdict.reason}", verdict.score)
    wait(lambda: job.registry.tag_version(name, version, as_tags(verdict)))
    return verdict
