"""The tags of a version in MLflow, `sabueso.*`: the one place that reads and writes them. docs/mlflow.md lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from train.training_key import TrainingKey
from train.verdict import Verdict

PREFIX = "sabueso."
# The gate's results that end a training. A version without one of them is still to be judged.
FINAL_DECISIONS = ("promoted", "kept", "incomparable", "superseded")


@dataclass(frozen=True)
class VersionTags:
    """`decision` and `reason` are the gate's, or those of a promotion by hand."""

    snapshot: str | None = None
    settings_fingerprint: str | None = None
    execution: str | None = None
    decision: str | None = None
    reason: str | None = None
    examples: str = ""
    trained_at: str = ""
    is_rejected: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)

    def is_of(self, key: TrainingKey) -> bool:
        return (self.snapshot, self.settings_fingerprint) == (key.snapshot, key.settings_fingerprint)


def read_tags(tags: Mapping[str, str]) -> VersionTags:
    own = {key.removeprefix(PREFIX): text for key, text in tags.items() if key.startswith(PREFIX)}
    return VersionTags(
        snapshot=own.get("snapshot"),
        settings_fingerprint=own.get("settings"),
        execution=own.get("execution"),
        decision=own.get("decision"),
        reason=own.get("reason"),
        examples=own.get("examples", ""),
        trained_at=own.get("trained_at", ""),
        is_rejected=own.get("rejected") == "true",
        metrics=_metrics(own.get("metrics", "{}")),
    )


@dataclass(frozen=True)
class RunTags:
    """Which training a run, and later its version, belongs to."""

    pipeline: str
    key: TrainingKey
    execution: str
    git_commit: str

    def as_dict(self) -> dict[str, str]:
        own = {"pipeline": self.pipeline, "execution": self.execution, **self._training()}
        return {**_prefixed(own), "mlflow.source.git.commit": self.git_commit}

    def same_execution(self) -> str:
        """MLflow's query for the run of this execution."""
        return f"tags.`{PREFIX}execution` = '{self.execution}'"

    def same_training(self) -> list[str]:
        """Conditions of MLflow's query for the runs of the same snapshot with the same settings."""
        return [f"tags.`{name}` = '{text}'" for name, text in _prefixed(self._training()).items()]

    def _training(self) -> dict[str, str]:
        return {"snapshot": self.key.snapshot, "settings": self.key.settings_fingerprint}


def result_tags(
    kind: str, examples: int, holdout: int, made_up: bool, trained_at: str, metrics: Mapping[str, float]
) -> dict[str, str]:
    """What a version is, before the gate."""
    return _prefixed(
        {
            "kind": kind,
            "examples": str(examples),
            "holdout": str(holdout),
            "made_up": str(made_up).lower(),
            "trained_at": trained_at,
            "metrics": json.dumps(dict(metrics)),
        }
    )


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """The gate's result. The decision comes last: a version that has it has all of them."""
    numbers = verdict.model_dump(include={"score", "champion_score", "gain", "bound"}, exclude_none=True)
    return _prefixed({"gate": json.dumps(numbers), "reason": verdict.reason, "decision": verdict.decision})


def promoted_by_hand_tags(reason: str, was_rejected: bool) -> dict[str, str]:
    tags = {"decision": "promoted", "reason": reason, "rejected": "false"}
    return _prefixed({**tags, **({"rejected_reason": f"withdrawn: {reason}"} if was_rejected else {})})


def rejected_tags(reason: str) -> dict[str, str]:
    return _prefixed({"rejected_reason": reason, "rejected": "true"})


def _prefixed(tags: Mapping[str, str]) -> dict[str, str]:
    return {PREFIX + name: text for name, text in tags.items()}


def _metrics(text: str) -> dict[str, float]:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}
