"""Starts the training job as a child process, watches it, and records its end when the job can't do so itself."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from common.container import memory_mb
from common.errors import AlreadyRunning, Conflict, NotFound, SabuesoError, StoreUnavailable, Unavailable
from common.json_types import Json
from common.logging import child_environment, log
from common.pipelines import Pipeline
from common.settings import FUNCTIONS
from common.storage import keys
from common.storage.executions import Execution, begin, load, newest
from common.storage.leases import Lease, acquire
from common.storage.object_store import ObjectStore
from common.storage.training_record import TrainingRecord
from train.context import pictures_folder
from train.environment import ENVIRONMENT
from train.fingerprint import settings_fingerprint
from train.registry import VersionRegistry
from train.retry import STORE_DOWN, RetryPolicy, log_waiting
from train.settings import TrainSettings

MEMORY_SHARE = 0.85
LOG_CHARACTERS = 300
RELEASE_S = 10.0
END_S = 5.0


@dataclass
class Job:
    """A child process of this one: whether a person cancelled it, and the thread that waits for its end."""

    child: subprocess.Popen[bytes]
    cancelled: bool = False
    watcher: threading.Thread = field(init=False)


@dataclass
class Supervisor:
    """The jobs of this process, the newest of each pipeline."""

    settings: TrainSettings
    store: ObjectStore
    _jobs: dict[str, Job] = field(default_factory=dict)
    _ending: bool = False

    def shut_down(self) -> None:
        """This process is shutting down: interrupt its jobs, so that the next fetch resumes them elsewhere."""
        self._ending = True
        until = time.monotonic() + END_S
        for job in list(self._jobs.values()):
            job.watcher.join(max(0.0, until - time.monotonic()))

    def start(self, pipeline: Pipeline, force: bool) -> str:
        """Take the lease, record the execution, start the child; its id. Raises AlreadyRunning, Unavailable."""
        if self._ending:
            raise Unavailable("this replica is shutting down; another one takes over")
        job = self._jobs.get(pipeline.name)
        # The lease may have expired while the store was down, although the job runs or its end is not recorded yet.
        if job is not None and job.watcher.is_alive() and not self._has_ended(pipeline.name):
            raise AlreadyRunning(f"a training of {pipeline.name} runs in this replica")
        lease = self._acquire(pipeline.name)
        try:
            resumed = self._resume_facts(pipeline)
            force = force or bool(resumed.pop("force", False))
            execution = begin(self.store, pipeline.name, TrainingRecord.new(**resumed, force=force))
            job = Job(self._spawn(pipeline.name, execution, lease))
        except BaseException:
            lease.release()
            raise
        watch = partial(copy_context().run, self._watch, pipeline.name, job, execution.key, lease)
        job.watcher = threading.Thread(target=watch, daemon=True)
        job.watcher.start()
        self._jobs[pipeline.name] = job
        return execution.record.id

    def cancel(self, pipeline: str) -> str:
        """Stop the job; its id. Raises NotFound if none runs in this process, or its end is recorded."""
        job, last = self._jobs.get(pipeline), None
        with contextlib.suppress(StoreUnavailable):  # the job can be stopped without the store
            last = newest(self.store, pipeline, TrainingRecord)
        ended = last is not None and not last.record.is_running
        if job is None or job.child.poll() is not None or ended:
            raise NotFound(f"no training of {pipeline} runs in this replica")
        job.cancelled = True
        job.child.terminate()
        last = last or newest(self.store, pipeline, TrainingRecord)
        return last.record.id if last else ""

    def command(self, *arguments: str) -> list[str]:
        """The child: train/job.py with its arguments."""
        return [sys.executable, "-m", "train.job", *arguments]

    def _has_ended(self, pipeline: str) -> bool:
        """Whether the newest execution recorded its end; its job is then about to release the lease."""
        last = newest(self.store, pipeline, TrainingRecord)
        return last is not None and not last.record.is_running

    def _acquire(self, pipeline: str) -> Lease:
        """The lease; waits for a job that is about to release it. Raises AlreadyRunning."""
        until = time.monotonic() + RELEASE_S
        key = keys.lease(pipeline, "train")
        while True:
            try:
                return acquire(self.store, key, f"train {pipeline}", self.settings.lease_s)
            except AlreadyRunning:
                if not self._has_ended(pipeline) or time.monotonic() > until:
                    raise
            time.sleep(0.1)

    def _resume_facts(self, pipeline: Pipeline) -> dict[str, Json]:
        """What a new execution takes over from an interrupted one. Closes the record of a job that died."""
        last = newest(self.store, pipeline.name, TrainingRecord)
        if last is not None and last.record.is_running:
            last.end("interrupted", reason="the process ended before the training did")
        if last is None or last.record.state != "interrupted":
            return {}
        interrupted = last.record
        facts: dict[str, Json] = {
            "force": interrupted.force,
            "ancestors": [*interrupted.ancestors, interrupted.id],
        }
        # An execution that died before its snapshot passes on the one that it was to resume.
        snapshot = interrupted.snapshot or interrupted.resumed_snapshot
        if snapshot is None:
            return facts
        facts |= {"resumed_from": interrupted.id, "resumed_snapshot": snapshot}
        # Its MLflow run continues unless a version was registered in it, or the settings have changed.
        fingerprint = settings_fingerprint(pipeline, self.settings)
        same_settings = interrupted.version is None and interrupted.settings_fingerprint == fingerprint
        if same_settings and interrupted.run_id is not None:
            facts |= {"run_id": interrupted.run_id, "settings_fingerprint": fingerprint}
        return facts

    def _spawn(self, pipeline: str, execution: Execution[TrainingRecord], lease: Lease) -> subprocess.Popen[bytes]:
        command = self.command(pipeline, execution.key, lease.nonce)
        environment = {**ENVIRONMENT, **self.settings.environment, "PYTHONPATH": str(FUNCTIONS), **child_environment()}
        environment["KERAS_HOME"] = str(self.settings.scratch / "keras")  # where Keras keeps downloaded weights
        self._log_path(pipeline).parent.mkdir(parents=True, exist_ok=True)
        with self._log_path(pipeline).open("wb") as output:
            return subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=FUNCTIONS)  # noqa: S603 (words, no shell)

    def _watch(self, pipeline: str, job: Job, key: str, lease: Lease) -> None:
        child, limit = job.child, self.settings.train_memory_mb or memory_mb()
        stopped_for_memory, copied = False, 0
        while child.poll() is None:
            copied = self._copy_log(pipeline, copied)
            if self._ending:
                child.terminate()
            if limit is not None and not stopped_for_memory and _memory_mb(child.pid) > MEMORY_SHARE * limit:
                stopped_for_memory = True
                child.kill()
            time.sleep(0.5)
        self._copy_log(pipeline, copied, ended=True)

        retry = RetryPolicy(self.settings.retry_s, partial(log_waiting, pipeline))
        try:
            retry(lambda: self._record_end(pipeline, job, key, stopped_for_memory))
            retry(lease.release_for_dead_holder)
        except (Conflict, StoreUnavailable) as error:
            # The next start closes the record.
            log("job end not recorded", logging.WARNING, pipeline=pipeline, why=str(error))

    def _record_end(self, pipeline: str, job: Job, key: str, stopped_for_memory: bool) -> None:
        execution, code = load(self.store, key, TrainingRecord), job.child.returncode
        log("job ended", pipeline=pipeline, execution=execution.record.id, code=code, state=execution.record.state)
        if not execution.record.is_running:
            return
        if job.cancelled:
            state, reason = "cancelled", "cancelled by a person"
        elif stopped_for_memory:
            state = "out-of-memory"
            reason = f"the job reached {MEMORY_SHARE:.0%} of the memory limit and was stopped"
        elif code == STORE_DOWN:
            state, reason = "interrupted", "the object store stayed down; a later fetch resumes the training"
        elif code < 0:
            state = "interrupted"
            reason = f"the job was ended by {signal.Signals(-code).name}; a later fetch resumes it"
        else:
            state, reason = "failed", f"the job ended with code {code}: {self._log_end(pipeline)}"
        if state == "interrupted":
            execution.end(state, reason=reason)
            return
        # Before the end is recorded: afterwards the pictures may be those of the next training.
        shutil.rmtree(pictures_folder(self.settings, pipeline), ignore_errors=True)
        execution.end(state, reason=reason)
        self._end_run(pipeline, execution.record, "KILLED" if state == "cancelled" else "FAILED")

    def _end_run(self, pipeline: str, record: TrainingRecord, status: str) -> None:
        """End the MLflow run of a training that is not resumed. A run left RUNNING would look like a job that died."""
        if record.run_id is None:
            return
        try:
            VersionRegistry(self.settings).end_run(record.run_id, status)
        except SabuesoError as error:
            log("run not ended in MLflow", logging.WARNING, pipeline=pipeline, run_id=record.run_id, why=error.detail)

    def _log_path(self, pipeline: str) -> Path:
        return self.settings.scratch / "logs" / f"train-{pipeline}.log"

    def _copy_log(self, pipeline: str, start: int, ended: bool = False) -> int:
        """Append the job's new log lines (from byte `start`) to this process's log; returns where to continue.

        Until the job has ended, only whole lines. Native code writes plain text: each of its lines becomes an event.
        """
        lines = b""
        with contextlib.suppress(OSError), self._log_path(pipeline).open("rb") as file:
            file.seek(start)
            lines = file.read()
        if not ended:
            lines = lines[: lines.rfind(b"\n") + 1]
        for line in lines.decode(errors="replace").splitlines():
            if line.startswith("{"):
                sys.stderr.write(f"{line}\n")
            elif line.strip():
                log("job output", pipeline=pipeline, text=line)
        return start + len(lines)

    def _log_end(self, pipeline: str) -> str:
        """The job's last line, which names the exception of a traceback, as a short text."""
        try:
            lines = self._log_path(pipeline).read_text(errors="replace").splitlines()
        except OSError:
            return "no log"
        return next((_summary(line) for line in reversed(lines) if line[:1].strip()), "no log")[:LOG_CHARACTERS]


def _summary(line: str) -> str:
    """Of an event its name, reason and error without the traceback; another line as it is."""
    try:
        event = json.loads(line)
        error = (event.get("error") or "").strip().rpartition("\n")[2]
        return " ".join(filter(None, [event["event"], event.get("why"), error]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return line.strip()


def _memory_mb(pid: int) -> float:
    """Megabytes that the kernel can't reclaim. Pages of mapped files, such as decoded pictures, can be read again."""
    try:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            kilobytes = re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.MULTILINE)
            return sum(map(int, kilobytes)) * 1.024e-3
        return float(psutil.Process(pid).memory_info().rss) / 1e6
    except psutil.Error:
        return 0.0
