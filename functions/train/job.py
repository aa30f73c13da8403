"""The training job: a child process that goes on under the lease its parent took. `python -m train.job` ..."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import asdict
from typing import Any

from common.datasets import Dataset
from common.errors import AlreadyRunning, SabuesoError
from common.executions import Execution, resume
from common.leases import Lease, take_over
from common.objects import Objects, open_objects
from common.pipelines import Pipeline, pick, read_pipelines
from common.registry import Registry
from common.settings import Settings, read_settings
from train.snapshot import PARTS, read_examples, snapshot_samples, store_snapshot

# Grows when the same snapshot and settings would give another version: a new recipe, a new format.
RECIPE = 1
LOG = logging.getLogger("sabueso.train")
FINISHED = ("promoted", "kept", "incomparable", "superseded")


def settings_fingerprint(pipeline: Pipeline, budget_s: float) -> str:
    """sha256 of all that, beside the snapshot, decides what a training makes."""
    facts = {
        "recipe": RECIPE,
        "kind": pipeline.kind,
        "columns": pipeline.input_columns(),
        "target": pipeline.target,
        "labels": pipeline.label_values,
        "train": {**asdict(pipeline.train), "budget_s": budget_s},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class Job:
    """One execution, from snapshot to gate."""

    def __init__(
        self, settings: Settings, objects: Objects, pipeline: Pipeline, execution: Execution, lease: Lease
    ) -> None:
        self.settings, self.objects, self.pipeline = settings, objects, pipeline
        self.execution, self.lease = execution, lease
        self.registry = Registry(settings)
        self.budget_s = settings.budget_s(pipeline.name, pipeline.train.budget_s)

    def run(self, force: bool) -> None:
        """Raises SabuesoError for what can be told in words."""
        dataset = Dataset(self.objects, self.pipeline.name)
        self.stage("reading examples", 0.01)
        resumed = self.execution.body["resumed_snapshot"]
        samples = snapshot_samples(dataset, resumed) if resumed else None
        examples = read_examples(self.pipeline, dataset, samples or dataset.samples())
        snapshot = store_snapshot(dataset, examples)
        settings = settings_fingerprint(self.pipeline, self.budget_s)
        sizes = {name: int((examples.parts == part).sum()) for part, name in enumerate(PARTS)}
        self.execution.update(
            snapshot=snapshot,
            settings=settings,
            examples=len(examples.hashes),
            conflicting=examples.conflicting,
            sizes=sizes,
        )
        same = None if force else self.trained_already(snapshot, settings)
        if same is not None:
            self.execution.end(
                "finished",
                decision="skipped",
                progress=1.0,
                stage="done",
                version=same["version"],
                metrics=_metrics_of(same),
                reason=f"version {same['version']} was trained on the same snapshot with the same settings",
            )
            return
        # TensorFlow and MLflow take seconds to import: a job that is skipped does without.
        from train.make_version import make_version

        make_version(self, examples, snapshot, settings)

    def trained_already(self, snapshot: str, settings: str) -> dict[str, Any] | None:
        """A finished version of the same snapshot and settings, if there is one."""
        for version in self.registry.versions(self.pipeline.name):
            tags = version["tags"]
            same = tags.get("sabueso.snapshot") == snapshot and tags.get("sabueso.settings") == settings
            if same and tags.get("sabueso.decision") in FINISHED:
                return version
        return None

    def stage(self, stage: str, progress: float, **more: Any) -> None:
        """Tell where the job is. Raises AlreadyRunning if the lease was lost: then another works on this."""
        if self.lease.lost:
            raise AlreadyRunning("the lease was lost to another execution")
        self.execution.update(stage=stage, progress=round(progress, 4), **more)


def _metrics_of(version: dict[str, Any]) -> dict[str, float]:
    try:
        return dict(json.loads(version["tags"].get("sabueso.metrics", "{}")))
    except ValueError:
        return {}


def main(argv: list[str]) -> int:
    """`python -m train.job PIPELINE RECORD_KEY LEASE_NONCE FORCE`, started by launch.py."""
    name, key, nonce, force = argv
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    settings = read_settings(os.environ)
    settings.scratch.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(settings.scratch)
    objects = open_objects(settings)
    pipeline = pick(read_pipelines(settings.pipelines), name)
    execution = resume(objects, key)
    began = time.monotonic()
    try:
        with take_over(objects, f"jobs/{name}/train.json", nonce, settings.lease_s) as lease:
            try:
                Job(settings, objects, pipeline, execution, lease).run(force == "force")
                return 0
            except SabuesoError as error:
                LOG.warning("%s: %s", error.kind, error.detail)
                execution.end("failed", reason=error.detail, seconds=round(time.monotonic() - began, 1))
            except Exception as error:
                LOG.exception("the training failed")
                told = f"{type(error).__name__}: {str(error)[:300]}"
                execution.end("failed", reason=told, seconds=round(time.monotonic() - began, 1))
    except AlreadyRunning as error:
        LOG.warning("%s", error.detail)
        execution.end("interrupted", reason=error.detail)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
