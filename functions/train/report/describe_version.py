"""What MLflow tells of a version beside its figures: params, tags, its page, the inputs that are shown."""

from __future__ import annotations

import json
import resource
import sys
from typing import TYPE_CHECKING, Any

from common.datasets import Dataset
from common.pipeline_keys import IMAGENET, INSTALLED, NOTHING
from train.fit.preparation import Fitted, Preparation
from train.judge.gate import Verdict
from train.report.dataset_input import profile
from train.report.model_card import Making, model_card, with_verdict
from train.report.tracking import Tracking
from train.snapshot import PARTS, Examples

if TYPE_CHECKING:
    from train.job import Job

CARD = "model_card.md"


def peak_memory_mb() -> float:
    """The most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))


def recipe(job: Job, fitted: Fitted) -> dict[str, Any]:
    """What decided the training beside the data, by name: what was planned, the network's size, the numbers used."""
    image, train = job.pipeline.kind == "image", job.pipeline.train
    facts = {
        **{f"plan_{key}": value for key, value in fitted.plan.items()},
        "weights": fitted.model.count_params(),
        "members": fitted.model.outputs[0].shape[1],
    }
    if image:
        facts["image_size"] = train.image_size
        known = {NOTHING: "none", INSTALLED: "installed"}.get(train.backbone, IMAGENET)
        facts |= {"backbone": train.backbone, "backbone_weights": train.weights.sha256 if train.weights else known}
    return facts


def shown_inputs(preparation: Preparation, examples: Examples) -> list[Any]:
    """A few inputs that MLflow may show: of the tune part, which nothing that people send comes into."""
    inputs = examples.of(PARTS.index("tune"))[0][:3]
    return list(preparation.encode(inputs)) if preparation.kind == "image" else inputs


def version_tags(
    tags: dict[str, str], contract: dict[str, Any], metrics: dict[str, float], sizes: dict[str, int]
) -> dict[str, str]:
    """The version's tags before the gate; docs/operations.md, What MLflow holds."""
    told = {
        "kind": contract["kind"],
        "examples": contract["examples"],
        "holdout": sizes["holdout"],
        "made_up": str(contract["made_up"]).lower(),
        "trained_at": contract["trained_at"],
        "metrics": json.dumps(metrics),
    }
    return {**tags, **{f"sabueso.{key}": str(value) for key, value in told.items()}}


def version_page(
    job: Job, examples: Examples, contract: dict[str, Any], how: dict[str, Any], tracking: Tracking
) -> str:
    """The version's page; the run keeps it too, with tables of any length."""
    making = Making(
        source=job.patience(Dataset(job.objects, job.pipeline.name).source),
        profile=profile(job.pipeline, examples),
        how={"budget_s": job.budget_s, "seed": job.pipeline.train.seed, **how},
        mlflow_url=job.settings.mlflow_public or job.settings.mlflow_uri,
    )
    job.patience(lambda: tracking.text(model_card(contract, making, limit=None), CARD))
    return model_card(contract, making)


def tell_verdict(tracking: Tracking, version: str, verdict: Verdict) -> None:
    """The version's number and the gate's result onto the run's page, if it has one. Raises RegistryUnavailable."""
    page = tracking.read(CARD)
    if page is not None:
        tracking.text(with_verdict(page, version, verdict, limit=None), CARD)
