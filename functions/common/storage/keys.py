"""Every key of the object store. No other file spells one."""

from __future__ import annotations

from typing import Literal

DATASETS, JOBS = "datasets/", "jobs/"
META = ".meta.json"
# Written to prove that the store honours conditional writes; never listed.
PROBE = f"{JOBS}conditional-writes.json"


def dataset(pipeline: str) -> str:
    return f"{DATASETS}{pipeline}/"


def source(pipeline: str) -> str:
    return f"{DATASETS}{pipeline}/source.json"


def intents(pipeline: str) -> str:
    return f"{DATASETS}{pipeline}/intents/"


def intent(pipeline: str, identity: str) -> str:
    return f"{DATASETS}{pipeline}/intents/{identity}.json"


def samples(pipeline: str) -> str:
    return f"{DATASETS}{pipeline}/samples/"


def sample(pipeline: str, batch: int, digest: str) -> str:
    return f"{DATASETS}{pipeline}/samples/{batch}/{digest}"


def sample_meta(sample_key: str) -> str:
    return f"{sample_key}{META}"


def snapshots(pipeline: str) -> str:
    return f"{DATASETS}{pipeline}/snapshots/"


def snapshot(pipeline: str, fingerprint: str) -> str:
    return f"{DATASETS}{pipeline}/snapshots/{fingerprint}.json"


def lease(pipeline: str, work: Literal["fetch", "train"]) -> str:
    return f"{JOBS}{pipeline}/{work}.json"


def executions(pipeline: str) -> str:
    return f"{JOBS}{pipeline}/runs/"


def execution(pipeline: str, started: str, identity: str) -> str:
    """Keys sort by age."""
    return f"{JOBS}{pipeline}/runs/{started.replace(':', '')}-{identity}.json"


def checkpoints(pipeline: str) -> str:
    return f"{JOBS}{pipeline}/checkpoints/"


def checkpoint(pipeline: str, training: str, name: str) -> str:
    return f"{JOBS}{pipeline}/checkpoints/{training}/{name}"
