"""From examples to a registered version: fit, evaluate, export, register, gate."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.bundle import NETWORK, Bundle, sign_bundle
from common.errors import AlreadyRunning, BundleRefused, RegistryUnavailable, Unavailable
from common.executions import timestamp
from common.network import Network
from train.bundle.make_bundle import make_bundle
from train.fit.checkpoint import Checkpoint
from train.fit.make_network import make_network
from train.fit.preparation import Fitted
from train.fit.weights import fetch_weights
from train.judge.champion import as_tags, metrics_of
from train.judge.evaluation import HOLDOUT, log_evaluation
from train.judge.gate import Verdict
from train.judge.judge import decide
from train.left_behind import clear_left
from train.report.dataset_input import dataset_input
from train.report.describe_version import (
    peak_memory_mb,
    recipe,
    shown_inputs,
    tell_verdict,
    version_page,
    version_tags,
)
from train.report.model_card import about_model
from train.report.plots import curves_figure
from train.report.tracking import Tracking
from train.snapshot import Examples

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
    pictures, checkpoint = clear_left(job, snapshot, settings)
    tracking = wait(lambda: Tracking(pipeline, job.settings, job.execution.body["run_id"], tags))
    try:
        job.stage("preparing", 0.03, run_id=tracking.run_id, run_url=tracking.url)
        params = {"kind": pipeline.kind, "budget_s": job.budget_s, "seed": pipeline.train.seed}
        params |= {f"examples_{part}": size for part, size in job.execution.body["sizes"].items()}
        wait(lambda: tracking.params(params))
        data = dataset_input(pipeline, examples, snapshot, job.settings.require_store())
        wait(lambda: tracking.dataset(data))
        with tracking.system_metrics():
            fitted = _fit(job, examples, tracking, checkpoint, pictures)
        effort = {"fit_seconds": round(time.monotonic() - began, 1), "peak_memory_mb": peak_memory_mb()}
        tracking.metrics(effort)
        with tempfile.TemporaryDirectory() as scratch:
            serving = Path(scratch) / "serving"
            serving.mkdir()
            contract, metrics = _export(job, examples, fitted, serving, snapshot, settings, tracking)
            job.stage("registering", 0.94, metrics=metrics)
            contract["trained_at"] = timestamp()
            sign_bundle(serving, contract, job.settings.secret("bundle-key"))
            bundle = Bundle(serving, job.settings.secret("bundle-key"))
            bundle.check_golden()
            raw, about = shown_inputs(fitted.preparation, examples), about_model(pipeline)
            page = version_page(job, examples, contract, {**effort, **recipe(job, fitted)}, tracking)
            facts = version_tags(tags, contract, metrics, job.execution.body["sizes"])
            version = wait(lambda: tracking.register(serving, raw, facts, page, about))
            job.stage("gate", 0.97, version=version)
            verdict = decide(job, examples, bundle, version, Path(scratch))
        wait(lambda: tell_verdict(tracking, version, verdict))
        wait(checkpoint.clear)
        shutil.rmtree(job.pictures, ignore_errors=True)
        wait(lambda: tracking.end("FINISHED"))
        _end(job, version, verdict, began)
    except AlreadyRunning:
        raise  # whoever works on this now goes on with the same run
    except BaseException as error:
        if not isinstance(error, Unavailable):  # then it is taken up, and finds them
            shutil.rmtree(job.pictures, ignore_errors=True)
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
        verdict = decide(job, examples, bundle, number, Path(scratch))
    tags = version["tags"]
    tracking = job.patience(lambda: Tracking(job.pipeline, job.settings, version["run_id"], tags))
    job.patience(lambda: tell_verdict(tracking, number, verdict))
    _, checkpoint = clear_left(job, tags["sabueso.snapshot"], tags["sabueso.settings"])
    job.patience(checkpoint.clear)
    shutil.rmtree(job.pictures, ignore_errors=True)
    job.patience(lambda: tracking.end("FINISHED"))
    _end(job, number, verdict, began)
    return True


def _end(job: Job, version: str, verdict: Verdict, began: float) -> None:
    # The tags when all else is done: a version without a decision is judged again, and what was left is put in order.
    job.stage("gate", 0.99)
    job.patience(lambda: job.registry.tag_version(job.pipeline.name, version, as_tags(verdict)))
    seconds = round(time.monotonic() - began, 1)
    facts = {"decision": verdict.decision, "reason": verdict.reason, "progress": 1.0, "stage": "done"}
    job.end("finished", **facts, seconds=seconds)


def _fit(job: Job, examples: Examples, tracking: Tracking, checkpoint: Checkpoint, pictures: Path) -> Fitted:
    def on_stage(stage: str, share: float) -> None:
        job.tell(stage, FIT_FROM + (FIT_TO - FIT_FROM) * share)

    def on_epoch(done: int, total: int, facts: dict[str, float]) -> None:
        tracking.metrics(facts, step=done)
        job.tell(f"epoch {done} of {total}", FIT_FROM + (FIT_TO - FIT_FROM) * done / total)

    parts = examples.of(0), examples.of(1)
    wanted = job.pipeline.train.weights
    file = job.patience(lambda: fetch_weights(wanted, job.settings)) if wanted else None
    epochs = job.settings.epochs(job.pipeline.name)
    fitted = make_network(
        job.pipeline, *parts, job.budget_s, checkpoint, pictures, on_epoch, on_stage, file, job.reading_s, epochs
    )
    job.patience(lambda: tracking.params(recipe(job, fitted)))
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
    inputs = fitted.preparation.encode(examples.of(HOLDOUT)[0])
    answers = Network(serving / NETWORK).predict(inputs)
    metrics = log_evaluation(contract, examples, answers, tracking, job.patience)
    tracking.metrics({**metrics, "export_apart": apart, "temperature": contract["temperature"]})
    return contract, metrics
