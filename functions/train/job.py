"""The training job: a child process that goes on under the lease its parent took. `python -m train.job` ..."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.datasets import Dataset, distinct_examples
from common.errors import AlreadyRunning, Conflict, SabuesoError, StoreUnavailable, Unavailable
from common.executions import Execution, resume
from common.leases import Lease, take_over
from common.log import set_up_log
from common.objects import Objects, open_objects
from common.pipelines import Pipeline, pick, read_pipelines
from common.registry import Registry
from common.settings import Settings, read_settings
from train.judge.champion import metrics_of
from train.patience import AWAY, QUIET_S, Patience
from train.snapshot import PARTS, Examples, read_examples, snapshot_samples, store_snapshot

# Grows when the same snapshot and settings would give another version: a new recipe, a new format.
RECIPE = 4
LOG = logging.getLogger("sabueso.train")
FINISHED = ("promoted", "kept", "incomparable", "superseded")


def settings_fingerprint(pipeline: Pipeline, settings: Settings) -> str:
    """sha256 of all that, beside the snapshot, decides what a training makes. Weights count by their sum, wherever."""
    weights, epochs = pipeline.train.weights, settings.epochs(pipeline.name)
    limits = {"budget_s": settings.budget_s(pipeline.name, pipeline.train.budget_s)}
    if epochs is not None:
        limits["epochs"] = epochs
    facts = {
        "recipe": RECIPE,
        "kind": pipeline.kind,
        "columns": pipeline.input_columns(),
        "target": pipeline.target,
        "labels": pipeline.label_values,
        "train": {**asdict(pipeline.train), **limits, "weights": weights and weights.sha256},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def pictures_folder(settings: Settings, pipeline: str) -> Path:
    """Where a training of that pipeline keeps its decoded pictures."""
    return settings.scratch / "pictures" / pipeline


class Job:
    """One execution, from snapshot to gate."""

    def __init__(
        self, settings: Settings, objects: Objects, pipeline: Pipeline, execution: Execution, lease: Lease
    ) -> None:
        self.settings, self.objects, self.pipeline = settings, objects, pipeline
        self.execution, self.lease = execution, lease
        self.registry = Registry(settings)
        self.budget_s = settings.budget_s(pipeline.name, pipeline.train.budget_s)
        self.patience = Patience(settings.patience_s, self._tell_waiting)
        self.pictures = pictures_folder(settings, pipeline.name)
        self._quiet_until = self.reading_s = self._progress = 0.0

    def run(self, force: bool) -> None:
        """Raises SabuesoError for what can be told in words."""
        dataset = Dataset(self.objects, self.pipeline.name)
        self.stage("reading examples", 0.01)
        resumed = self.execution.body["resumed_snapshot"]

        def read() -> tuple[Examples, str, int]:
            began = time.monotonic()
            samples = (snapshot_samples(dataset, resumed) if resumed else None) or dataset.samples()
            found = read_examples(self.pipeline, dataset, samples)
            name = store_snapshot(dataset, found)
            self.reading_s = time.monotonic() - began
            return found, name, distinct_examples(samples)

        examples, snapshot, received = self.patience(read)
        settings = settings_fingerprint(self.pipeline, self.settings)
        sizes = {name: int((examples.parts == part).sum()) for part, name in enumerate(PARTS)}
        self.stage(
            "snapshot taken",
            0.02,
            snapshot=snapshot,
            settings=settings,
            examples=len(examples.hashes),
            received=received,
            conflicting=examples.conflicting,
            sizes=sizes,
        )
        # A forced training makes a version of its own, unless it made one before it was taken up.
        makers = self.execution.body["ancestors"] if force else None
        made = self.patience(lambda: self.versions_of(snapshot, settings, makers))
        same = next((one for one in made if one["tags"].get("sabueso.decision") in FINISHED), None)
        if same is not None:
            self._tell_made(same)
            return
        # TensorFlow and MLflow take seconds to import: a job that is skipped does without.
        from train.make_version import judge_left, make_version

        left = next((one for one in made if "sabueso.decision" not in one["tags"]), None)
        if left is None or not judge_left(self, examples, left):
            make_version(self, examples, snapshot, settings)

    def _tell_made(self, version: dict[str, Any]) -> None:
        """End without training: the version is there. One that this execution took up keeps its own decision."""
        tags, number = version["tags"], version["version"]
        decision, reason = "skipped", f"version {number} was trained on the same snapshot with the same settings"
        if tags.get("sabueso.execution") in self.execution.body["ancestors"]:
            decision, reason = tags["sabueso.decision"], tags.get("sabueso.reason", "")
        facts = {"decision": decision, "reason": reason, "version": number, "metrics": metrics_of(version)}
        self.end("finished", progress=1.0, stage="done", run_id=version.get("run_id"), **facts)

    def end(self, state: str, **facts: Any) -> None:
        self.patience(lambda: self.execution.end(state, **facts))

    def versions_of(self, snapshot: str, settings: str, makers: list[str] | None) -> list[dict[str, Any]]:
        """The versions of that snapshot with those settings, of the executions `makers` alone if given."""

        def fits(tags: dict[str, str]) -> bool:
            same = tags.get("sabueso.snapshot") == snapshot and tags.get("sabueso.settings") == settings
            return same and (makers is None or tags.get("sabueso.execution") in makers)

        return [version for version in self.registry.versions(self.pipeline.name) if fits(version["tags"])]

    def stage(self, stage: str, progress: float, **more: Any) -> None:
        """Record where the job is; progress never goes back. Raises AlreadyRunning if the lease was lost."""
        self._hold_lease()
        self._progress = max(progress, self._progress)
        self.patience(lambda: self._record(stage=stage, progress=round(self._progress, 4), **more))

    def tell(self, stage: str, progress: float) -> None:
        """Like `stage`, for progress within a fit: does not wait for a store that is away."""
        self._hold_lease()
        if time.monotonic() < self._quiet_until:
            return
        self._progress = max(progress, self._progress)
        try:
            self._record(stage=stage, progress=round(self._progress, 4))
        except StoreUnavailable as error:
            LOG.warning("%s", error.detail)
            self._quiet_until = time.monotonic() + QUIET_S

    def _hold_lease(self) -> None:
        if self.lease.lost:
            raise AlreadyRunning("the lease was lost to another execution")

    def _record(self, **facts: Any) -> None:
        try:
            self.execution.update(**facts)
        except Conflict:
            raise AlreadyRunning("another execution took this one up") from None

    def _tell_waiting(self, why: str | None) -> None:
        LOG.warning("%s", why or "it is back")
        with contextlib.suppress(StoreUnavailable):
            self._record(reason=(why and f"waiting: {why}") or "")


@contextlib.contextmanager
def own_scratch(folder: Path) -> Iterator[None]:
    """Temporary files go there; what a job that was killed left is taken away, under its lease."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(argv: list[str]) -> int:
    """`python -m train.job PIPELINE RECORD_KEY LEASE_NONCE FORCE`, started by launch.py."""
    name, key, nonce, force = argv
    set_up_log("train")
    settings = read_settings(os.environ)
    objects = open_objects(settings)
    pipeline = pick(read_pipelines(settings.pipelines), name)
    began = time.monotonic()
    patience = Patience(settings.patience_s, lambda why: LOG.warning("%s", why or "it is back"))

    def end(state: str, reason: str) -> None:
        # A record that was closed by whoever took the job up stays as it is.
        with contextlib.suppress(Conflict):
            execution.end(state, reason=reason, seconds=round(time.monotonic() - began, 1))

    try:
        execution = patience(lambda: resume(objects, key))
        lease = patience(lambda: take_over(objects, f"jobs/{name}/train.json", nonce, settings.lease_s))
        with lease, own_scratch(settings.scratch / "jobs" / name):
            try:
                Job(settings, objects, pipeline, execution, lease).run(force == "force")
                return 0
            except (AlreadyRunning, Unavailable) as error:
                LOG.warning("%s: %s", error.kind, error.detail)
                end("interrupted", error.detail)
            except SabuesoError as error:
                LOG.warning("%s: %s", error.kind, error.detail)
                end("failed", error.detail)
            except Exception as error:
                LOG.exception("the training failed")
                end("failed", f"{type(error).__name__}: {str(error)[:300]}")
    except AlreadyRunning as error:
        LOG.warning("%s", error.detail)
        end("interrupted", error.detail)
    except StoreUnavailable as error:
        LOG.warning("%s", error.detail)  # the next training closes this one's record
        return AWAY
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
