"""Starts the training job as a child process, watches it, and records how it ended when it can't do so itself."""

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
from typing import Any

import psutil

from common.container import memory_mb
from common.errors import AlreadyRunning, Conflict, NotFound, SabuesoError, StoreUnavailable, Unavailable
from common.executions import Execution, begin, has_ended, history, resume
from common.leases import Lease, acquire
from common.log import child_environment, log
from common.objects import Objects
from common.pipelines import Pipeline
from common.registry import Registry
from common.settings import Settings
from train.fit import ENVIRONMENT
from train.job import pictures_folder, settings_fingerprint
from train.patience import AWAY, Patience

FUNCTIONS = Path(__file__).resolve().parent.parent
MEMORY_SHARE = 0.85
LOG_LINES, LOG_END = 20, 1500
RELEASE_S = 10.0
END_S = 5.0

FIRST: dict[str, Any] = {
    "progress": 0.0,
    "stage": "starting",
    "metrics": {},
    "decision": None,
    "reason": "",
    "version": None,
    "run_id": None,
    "run_url": None,
    "snapshot": None,
    "settings": None,
    "examples": 0,
    "received": 0,  # examples of the samples that it read, as fetch-batch counts them
    "resumed_from": None,
    "resumed_snapshot": None,
    "ancestors": [],  # the execution that was taken up, the one that it took up, and so on
}


@dataclass
class Running:
    """A job that this process started: its child, whether a person cancelled it, the thread that waits for its end."""

    child: subprocess.Popen[bytes]
    cancelled: bool = False
    watcher: threading.Thread = field(init=False)


@dataclass
class Launcher:
    """The jobs of this process, the newest of each pipeline."""

    settings: Settings
    objects: Objects
    _jobs: dict[str, Running] = field(default_factory=dict)
    _ending: bool = False

    def end(self) -> None:
        """This process is about to end: its jobs end as interrupted, so that the next tick takes them up elsewhere."""
        self._ending = True
        until = time.monotonic() + END_S
        for job in list(self._jobs.values()):
            job.watcher.join(max(0.0, until - time.monotonic()))

    def start(self, pipeline: Pipeline, force: bool) -> str:
        """Take the lease, record the execution, start the child; its id. Raises AlreadyRunning, Unavailable."""
        if self._ending:
            raise Unavailable("this replica is about to end, and another takes its place")
        job = self._jobs.get(pipeline.name)
        # While the store was away its lease may have run out; the job goes on, or its end is still to be recorded.
        if job is not None and job.watcher.is_alive() and not has_ended(self._newest(pipeline.name)):
            raise AlreadyRunning(f"a training of {pipeline.name} runs in this replica")
        lease = self._acquire(pipeline.name)
        try:
            before = self._close_interrupted(pipeline)
            force = before.pop("force", False) or force
            record = begin(self.objects, pipeline.name, "train", {**FIRST, **before, "force": force})
            job = Running(self._spawn(pipeline.name, record, lease, force))
        except BaseException:
            lease.release()
            raise
        watch = partial(copy_context().run, self._watch, pipeline.name, job, record.key, lease)
        job.watcher = threading.Thread(target=watch, daemon=True)
        job.watcher.start()
        self._jobs[pipeline.name] = job
        return str(record.body["id"])

    def _newest(self, pipeline: str) -> list[Execution]:
        return history(self.objects, pipeline, "train", most=1)

    def _acquire(self, pipeline: str) -> Lease:
        """The lease; a job that has said how it ended is about to give it back. Raises AlreadyRunning."""
        until = time.monotonic() + RELEASE_S
        while True:
            try:
                return acquire(self.objects, f"jobs/{pipeline}/train.json", f"train {pipeline}", self.settings.lease_s)
            except AlreadyRunning:
                if not has_ended(self._newest(pipeline)) or time.monotonic() > until:
                    raise
            time.sleep(0.1)

    def command(self, *arguments: str) -> list[str]:
        """The child: train/job.py with its arguments."""
        return [sys.executable, "-m", "train.job", *arguments]

    def cancel(self, pipeline: str) -> str:
        """Stop the job; its id. Raises NotFound if none runs in this process, or it has said how it ended."""
        job, newest = self._jobs.get(pipeline), None
        with contextlib.suppress(StoreUnavailable):  # the job can be stopped all the same
            newest = self._newest(pipeline)
        if job is None or job.child.poll() is not None or has_ended(newest or []):
            raise NotFound(f"no training of {pipeline} runs in this replica")
        job.cancelled = True
        job.child.terminate()
        newest = newest or self._newest(pipeline)
        return str(newest[0].body["id"]) if newest else ""

    def _close_interrupted(self, pipeline: Pipeline) -> dict[str, Any]:
        """End the record of a job that died with its machine; what the new one takes up from it."""
        for record in self._newest(pipeline.name):
            if record.body["state"] == "running":
                record.end("interrupted", reason="the process ended before the training did")
            if record.body["state"] == "interrupted":
                return self._take_up(pipeline, record.body)
        return {}

    def _take_up(self, pipeline: Pipeline, left: dict[str, Any]) -> dict[str, Any]:
        """What a new execution has of the interrupted one: its wish, its snapshot, its MLflow run."""
        taken = {"force": left.get("force", False), "ancestors": [*left.get("ancestors", []), left["id"]]}
        # One that died before its snapshot was taken hands on what it had to take up itself.
        snapshot = left["snapshot"] or left["resumed_snapshot"]
        if snapshot is None:
            return taken
        # Not the same MLflow run where a version was registered in it, or where the settings changed meanwhile.
        settings = settings_fingerprint(pipeline, self.settings)
        same = left["version"] is None and left.get("settings") == settings
        run = left["run_id"] if same else None
        return {
            **taken,
            "resumed_from": left["id"],
            "resumed_snapshot": snapshot,
            "run_id": run,
            "settings": settings if run else None,
        }

    def _spawn(self, pipeline: str, record: Execution, lease: Lease, force: bool) -> subprocess.Popen[bytes]:
        command = self.command(pipeline, record.key, lease.nonce, "force" if force else "-")
        environment = {**ENVIRONMENT, **self.settings.environment, "PYTHONPATH": str(FUNCTIONS), **child_environment()}
        environment["KERAS_HOME"] = str(self.settings.scratch / "keras")  # where Keras keeps weights that it downloads
        self._log_path(pipeline).parent.mkdir(parents=True, exist_ok=True)
        with self._log_path(pipeline).open("wb") as output:
            return subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=FUNCTIONS)

    def _watch(self, pipeline: str, job: Running, key: str, lease: Lease) -> None:
        child, limit = job.child, self.settings.train_memory_mb or memory_mb()
        stopped_for_memory, passed_on = False, 0
        while child.poll() is None:
            passed_on = self._pass_on_log(pipeline, passed_on)
            if self._ending:
                child.terminate()
            if limit is not None and not stopped_for_memory and _memory_mb(child.pid) > MEMORY_SHARE * limit:
                stopped_for_memory = True
                child.kill()
            time.sleep(0.5)
        self._pass_on_log(pipeline, passed_on, ended=True)

        def tell(why: str | None) -> None:
            log(why or "it is back", logging.WARNING, pipeline=pipeline)

        wait = Patience(self.settings.patience_s, tell)
        try:
            wait(lambda: self._record_end(pipeline, job, key, stopped_for_memory))
            wait(lambda: self._free(lease))
        except (Conflict, StoreUnavailable) as error:
            log("end not recorded", logging.WARNING, pipeline=pipeline, why=str(error))  # the next start closes it

    def _record_end(self, pipeline: str, job: Running, key: str, stopped_for_memory: bool) -> None:
        record, code = resume(self.objects, key), job.child.returncode
        log("job ended", pipeline=pipeline, code=code, state=record.body["state"])
        if record.body["state"] != "running":
            return
        if job.cancelled:
            state, reason = "cancelled", "cancelled by a person"
        elif stopped_for_memory:
            state = "out-of-memory"
            reason = f"the job came to {MEMORY_SHARE:.0%} of the memory limit and was stopped"
        elif code == AWAY:
            state, reason = "interrupted", "the object store stayed away; a later tick takes it up"
        elif code < 0:
            state = "interrupted"
            reason = f"the job was ended by {signal.Signals(-code).name}; a later tick takes it up"
        else:
            state, reason = "failed", f"the job ended with code {code}: {self._log_end(pipeline)}"
        if state == "interrupted":
            record.end(state, reason=reason)
            return
        # Before the end is told: then the pictures may be those of the next training.
        shutil.rmtree(pictures_folder(self.settings, pipeline), ignore_errors=True)
        record.end(state, reason=reason)
        self._end_run(pipeline, record, "KILLED" if state == "cancelled" else "FAILED")

    def _end_run(self, pipeline: str, record: Execution, status: str) -> None:
        """End the MLflow run too: nobody takes it up, and one that says RUNNING is taken for a job that died."""
        run_id = record.body.get("run_id")
        if run_id is None:
            return
        try:
            Registry(self.settings).end_run(run_id, status)
        except SabuesoError as error:
            log("run not ended in MLflow", logging.WARNING, pipeline=pipeline, run_id=run_id, why=error.detail)

    def _free(self, lease: Lease) -> None:
        """Release the lease of a child that could not; its renewals changed the ETag."""
        found = self.objects.get(lease.key)
        if (
            found is not None
            and f'"nonce": "{lease.nonce}"'.encode() in found.body
            and b'"released": false' in found.body
        ):
            lease.etag = found.etag
            lease.release()

    def _log_path(self, pipeline: str) -> Path:
        return self.settings.scratch / "logs" / f"train-{pipeline}.log"

    def _pass_on_log(self, pipeline: str, start: int, ended: bool = False) -> int:
        """Copy the job's log from byte `start` into this process's, in whole lines until it has ended; the next start.

        Native code writes plain text: each of its lines becomes an event.
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
                log("output of the job", pipeline=pipeline, text=line)
        return start + len(lines)

    def _log_end(self, pipeline: str) -> str:
        """What its last lines say: of events their names and errors, of others all."""
        try:
            lines = self._log_path(pipeline).read_text(errors="replace").splitlines()[-LOG_LINES:]
        except OSError:
            return "no log"
        return "\n".join(map(_in_words, lines))[-LOG_END:].strip()


def _in_words(line: str) -> str:
    try:
        event = json.loads(line)
        return f"{event['event']} {event.get('error', '')}".strip()
    except (ValueError, TypeError, KeyError):
        return line


def _memory_mb(pid: int) -> float:
    """Megabytes that the kernel can't take back. Pages of mapped files, such as decoded pictures, are read again."""
    try:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            kilobytes = re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.MULTILINE)
            return sum(map(int, kilobytes)) * 1.024e-3
        return float(psutil.Process(pid).memory_info().rss) / 1e6
    except psutil.Error:
        return 0.0
