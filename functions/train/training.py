"""The steps after the snapshot: fit, export, evaluation, registration, gate."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import time
from pathlib import Path

from common.errors import AlreadyRunning, BundleRefused, RegistryUnavailable, Unavailable
from common.inference.bundle import NETWORK, Bundle
from common.inference.contract import Contract
from common.inference.network import Network
from common.json_types import JsonObject
from common.logging import log
from train.context import TrainingContext
from train.export.make_bundle import make_bundle
from train.export.make_contract import make_contract
from train.export.sign_bundle import sign_bundle
from train.fit.checkpoint import Checkpoint
from train.fit.fit_network import fit_network
from train.fit.fitted import FitOptions, Fitted, fit_deadline
from train.fit.weight_file import fetch_weights
from train.fit.workspace import prepare_workspace
from train.gate.decide import decide
from train.registry import ModelVersion
from train.snapshot import Examples, Split
from train.tracking.dataset_input import dataset_input
from train.tracking.evaluation import evaluate_holdout
from train.tracking.page_text import about_model
from train.tracking.plots import curves_figure
from train.tracking.run import TrackedRun
from train.tracking.training_facts import example_inputs, fit_params, log_verdict, log_version_page, peak_memory_mb
from train.tracking.version_page import write_verdict
from train.training_key import TrainingKey
from train.verdict import Verdict
from train.version_tags import RunTags, result_tags, verdict_tags

# Progress at the begin and the end of the fit.
FIT_BEGIN, FIT_END = 0.05, 0.85


def train_version(context: TrainingContext, examples: Examples, key: TrainingKey) -> None:
    """Everything after the snapshot; ends the execution."""
    began = time.monotonic()
    retry = context.retry
    pictures, checkpoint = prepare_workspace(context, key)
    run = retry(lambda: _open_run(context, key, context.record.run_id))
    try:
        context.begin_stage("preparing", 0.03, run_id=run.run_id, run_url=run.url)
        _log_data(context, examples, key.snapshot, run)
        with run.system_metrics():
            fitted = _fit(context, examples, run, checkpoint, pictures)
        effort = {"fit_seconds": round(time.monotonic() - began, 1), "peak_memory_mb": peak_memory_mb()}
        run.log_metrics(effort)
        with tempfile.TemporaryDirectory() as scratch:
            serving = Path(scratch) / "serving"
            serving.mkdir()
            contract = _export(context, examples, fitted, run, serving, key)
            bundle = Bundle(serving, context.settings.secret("bundle-key"), context.pipeline.identity)
            bundle.check_golden()
            how = {**effort, **fit_params(context, fitted)}
            version = _register(context, examples, fitted, contract, how, run, serving)
            context.begin_stage("gate", 0.97, version=version)
            verdict = decide(context, examples, bundle, version, Path(scratch))
        _finish(context, run, checkpoint, version, verdict, began)
    except AlreadyRunning:
        raise  # the execution that took over continues the same run
    except BaseException as error:
        if not isinstance(error, Unavailable):  # then the training is resumed and needs the pictures
            shutil.rmtree(context.pictures, ignore_errors=True)
        with contextlib.suppress(RegistryUnavailable):  # no further retries: enough was waited before
            run.end("FAILED")
        raise


def judge_registered(context: TrainingContext, examples: Examples, version: ModelVersion) -> bool:
    """Finish a version that an earlier execution registered but did not judge; False if its bundle is refused."""
    began = time.monotonic()
    retry, name, number = context.retry, context.pipeline.name, version.number
    context.begin_stage("gate", 0.97, version=number, run_id=version.run_id, metrics=dict(version.tags.metrics))
    with tempfile.TemporaryDirectory() as scratch:
        serving = Path(scratch) / "serving"
        serving.mkdir()
        try:
            retry(lambda: context.registry.download_bundle(name, number, serving))
            bundle = Bundle(serving, context.settings.secret("bundle-key"), context.pipeline.identity)
            bundle.check_golden()
        except BundleRefused as error:
            log("undecided version refused", logging.WARNING, pipeline=name, version=number, why=error.detail)
            return False
        verdict = decide(context, examples, bundle, number, Path(scratch))
    key = TrainingKey(version.tags.snapshot or "", version.tags.settings_fingerprint or "")
    run = retry(lambda: _open_run(context, key, version.run_id))
    _, checkpoint = prepare_workspace(context, key)
    _finish(context, run, checkpoint, number, verdict, began)
    return True


def _open_run(context: TrainingContext, key: TrainingKey, run_id: str | None) -> TrackedRun:
    settings, pipeline = context.settings, context.pipeline
    tags = RunTags(pipeline.name, key, context.record.id, settings.git_commit)
    return TrackedRun(pipeline, context.registry, settings, run_id, tags)


def _log_data(context: TrainingContext, examples: Examples, snapshot: str, run: TrackedRun) -> None:
    pipeline = context.pipeline
    params = {"kind": pipeline.kind, "budget_s": context.budget_s, "seed": pipeline.train.seed}
    sizes = {f"examples_{split}": size for split, size in examples.sizes().items()}
    context.retry(lambda: run.log_params({**params, **sizes}))
    data = dataset_input(pipeline, examples, snapshot, context.settings.require_store())
    context.retry(lambda: run.log_dataset(data))


def _fit(
    context: TrainingContext, examples: Examples, run: TrackedRun, checkpoint: Checkpoint, pictures: Path
) -> Fitted:
    def on_stage(stage: str, share: float) -> None:
        context.report(stage, FIT_BEGIN + (FIT_END - FIT_BEGIN) * share)

    def on_epoch(done: int, total: int, figures: dict[str, float]) -> None:
        run.log_metrics(figures, step=done)
        on_stage(f"epoch {done} of {total}", done / total)

    wanted = context.pipeline.weights
    weights = context.retry(lambda: fetch_weights(wanted, context.settings)) if wanted else None
    options = FitOptions(
        checkpoint,
        scratch=pictures,
        deadline=fit_deadline(context.budget_s, context.reading_s),
        on_epoch=on_epoch,
        on_stage=on_stage,
        epochs=context.settings.epochs(context.pipeline.name),
        weights=weights,
    )
    fitted = fit_network(context.pipeline, examples.of(Split.TRAIN), examples.of(Split.TUNE), options)
    context.retry(lambda: run.log_params(fit_params(context, fitted)))
    if fitted.curve:
        context.retry(lambda: run.log_curve(fitted.curve))
        context.retry(lambda: run.log_figure(curves_figure(fitted.curve), "learning_curves"))
    return fitted


def _export(
    context: TrainingContext,
    examples: Examples,
    fitted: Fitted,
    run: TrackedRun,
    serving: Path,
    key: TrainingKey,
) -> Contract:
    """Write the signed bundle; returns its contract."""
    pipeline = context.pipeline
    context.begin_stage("exporting", FIT_END)
    export = make_bundle(pipeline, fitted, examples.of(Split.TRAIN), examples.of(Split.TUNE), serving)
    context.begin_stage("evaluating", 0.9)
    holdout = fitted.preprocessing.encode(examples.of(Split.HOLDOUT)[0])
    answers = Network(serving / NETWORK).predict(holdout)
    metrics, per_class = evaluate_holdout(pipeline, examples, answers, export.thresholds, run, context.retry)
    values = {name: interval.value for name, interval in metrics.intervals().items()}
    run.log_metrics({**values, "export_difference": export.difference, "temperature": export.temperature})
    context.begin_stage("registering", 0.94, metrics=values)
    contract = make_contract(
        pipeline,
        fitted.preprocessing.features,
        export,
        metrics,
        per_class,
        key,
        examples=len(examples.hashes),
        made_up=examples.made_up,
        git_commit=context.settings.git_commit,
    )
    return sign_bundle(serving, contract, context.settings.secret("bundle-key"))


def _register(
    context: TrainingContext,
    examples: Examples,
    fitted: Fitted,
    contract: Contract,
    how: JsonObject,
    run: TrackedRun,
    serving: Path,
) -> str:
    """Register the bundle as a version; its number."""
    page = log_version_page(context, examples, contract, how, run)
    inputs, about = example_inputs(fitted.preprocessing, examples), about_model(context.pipeline)
    tags = result_tags(
        contract.kind,
        contract.examples,
        contract.metrics.holdout_size,
        contract.made_up,
        contract.trained_at,
        context.record.metrics,
    )
    return context.retry(lambda: run.register(serving, inputs, tags, page, about))


def _finish(
    context: TrainingContext, run: TrackedRun, checkpoint: Checkpoint, number: str, verdict: Verdict, began: float
) -> None:
    """Record the verdict everywhere and end the execution."""
    retry, name, registry = context.retry, context.pipeline.name, context.registry
    retry(lambda: log_verdict(run, number, verdict))
    version = retry(lambda: registry.version(name, number))
    if version is not None:
        retry(lambda: write_verdict(registry, name, version, verdict))
    retry(checkpoint.clear)
    shutil.rmtree(context.pictures, ignore_errors=True)
    retry(lambda: run.end("FINISHED"))
    # The tags come after all else: a version without a decision is judged again, and what is missing is repeated.
    context.begin_stage("gate", 0.99)
    retry(lambda: registry.tag_version(name, number, verdict_tags(verdict)))
    seconds = round(time.monotonic() - began, 1)
    context.finish(decision=verdict.decision, reason=verdict.reason, seconds=seconds)
