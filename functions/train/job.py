"""The training job: a child process that continues under the lease of its parent. `python -m train.job` ..."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from common.errors import AlreadyRunning, Conflict, SabuesoError, StoreUnavailable, Unavailable
from common.logging import log, set_up_log
from common.pipeline_files import read_pipelines
from common.pipelines import pick
from common.storage import keys
from common.storage.dataset import Dataset, count_examples
from common.storage.executions import load
from common.storage.leases import take_over
from common.storage.open_store import open_store
from common.storage.training_record import TrainingRecord
from train.context import TrainingContext
from train.fingerprint import settings_fingerprint
from train.registry import ModelVersion
from train.retry import STORE_DOWN, RetryPolicy, log_waiting
from train.settings import read_settings
from train.snapshot import Examples, read_examples, snapshot_samples, store_snapshot
from train.training_key import TrainingKey
from train.version_tags import FINAL_DECISIONS

LOG = logging.getLogger("sabueso.train")


def run(context: TrainingContext) -> None:
    """One execution, from snapshot to gate. Raises SabuesoError for failures that have an explanation."""
    record = context.record
    context.begin_stage("reading examples", 0.01)
    examples, key = take_snapshot(context)
    # A forced training makes its own version, unless it had made one before it was resumed.
    makers = record.ancestors if record.force else None
    existing = context.retry(lambda: versions_of(context, key, makers))
    same = next((version for version in existing if version.tags.decision in FINAL_DECISIONS), None)
    if same is not None:
        _skip(context, same)
        return
    # TensorFlow and MLflow take seconds to import, which a skipped job saves.
    from train.training import judge_registered, train_version

    undecided = next((version for version in existing if version.tags.decision is None), None)
    if undecided is None or not judge_registered(context, examples, undecided):
        train_version(context, examples, key)


def take_snapshot(context: TrainingContext) -> tuple[Examples, TrainingKey]:
    """Read the examples and store their snapshot: that of the resumed execution if there is one."""
    dataset = Dataset(context.store, context.pipeline.name)
    resumed = context.record.resumed_snapshot

    def read() -> tuple[Examples, str, int]:
        began = time.monotonic()
        samples = (snapshot_samples(dataset, resumed) if resumed else None) or dataset.samples()
        examples = read_examples(context.pipeline, dataset, samples, context.settings)
        snapshot = store_snapshot(dataset, examples)
        context.reading_s = time.monotonic() - began
        return examples, snapshot, count_examples(samples)

    examples, snapshot, received = context.retry(read)
    key = TrainingKey(snapshot, settings_fingerprint(context.pipeline, context.settings))
    context.begin_stage(
        "snapshot taken",
        0.02,
        snapshot=key.snapshot,
        settings_fingerprint=key.settings_fingerprint,
        examples=len(examples.hashes),
        received=received,
        conflicting=examples.conflicting,
        sizes=examples.sizes(),
    )
    return examples, key


def versions_of(context: TrainingContext, key: TrainingKey, makers: list[str] | None) -> list[ModelVersion]:
    """The versions of that snapshot with those settings; with `makers` only those that these executions made."""
    return [
        version
        for version in context.registry.versions(context.pipeline.name)
        if version.tags.is_of(key) and (makers is None or version.tags.execution in makers)
    ]


def _skip(context: TrainingContext, version: ModelVersion) -> None:
    """End without training: the version exists. One of a resumed execution keeps its own decision."""
    tags = version.tags
    decision, reason = "skipped", f"version {version.number} was trained on the same snapshot with the same settings"
    if tags.execution in context.record.ancestors:
        decision, reason = tags.decision or "", tags.reason or ""
    context.finish(
        decision=decision,
        reason=reason,
        version=version.number,
        metrics=dict(tags.metrics),
        run_id=version.run_id,
    )


@contextlib.contextmanager
def own_scratch(folder: Path) -> Iterator[None]:
    """Put temporary files there, after removing what a killed job left. Call it under the lease."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(argv: list[str]) -> int:
    """`python -m train.job PIPELINE EXECUTION_KEY LEASE_NONCE`, started by supervisor.py."""
    name, key, nonce = argv
    set_up_log("train")
    settings = read_settings(os.environ)
    store = open_store(settings)
    pipeline = pick(read_pipelines(settings.pipelines), name)
    began = time.monotonic()
    retry = RetryPolicy(settings.retry_s, partial(log_waiting, name))

    def end(state: str, reason: str) -> None:
        log("training ended", logging.WARNING, pipeline=name, state=state, why=reason)
        # A record that was closed by the execution that resumed this one stays as it is.
        with contextlib.suppress(Conflict):
            execution.end(state, reason=reason, seconds=round(time.monotonic() - began, 1))

    try:
        execution = retry(lambda: load(store, key, TrainingRecord))
        lease = retry(lambda: take_over(store, keys.lease(name, "train"), nonce, settings.lease_s))
        with lease, own_scratch(settings.scratch / "jobs" / name):
            try:
                run(TrainingContext(settings, store, pipeline, execution, lease))
                return 0
            except (AlreadyRunning, Unavailable) as error:
                end("interrupted", error.detail)
            except SabuesoError as error:
                end("failed", error.detail)
            except Exception as error:
                record = execution.record
                LOG.exception("the training failed", extra={"facts": {"pipeline": name, "execution": record.id}})
                # Without its message: TensorFlow's hold whole tracebacks.
                details = f"the log of train has the details under {record.id}"
                end("failed", f"unexpected {type(error).__name__} in stage {record.stage!r}; {details}")
    except AlreadyRunning as error:
        end("interrupted", error.detail)
    except StoreUnavailable as error:
        # The next training closes this one's record.
        log("training ended", logging.WARNING, pipeline=name, state="interrupted", why=error.detail)
        return STORE_DOWN
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
