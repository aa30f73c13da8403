"""What MLflow records of a training beside its metrics: params, example inputs, the pages of its version."""

from __future__ import annotations

import resource
import sys
from typing import Any

from common.inference.contract import Contract
from common.json_types import Json, JsonObject
from common.pipelines import FROM_SCRATCH, IMAGENET, INSTALLED
from common.storage.dataset import Dataset
from train.context import TrainingContext
from train.fit.fitted import Fitted
from train.fit.preprocessing import Preprocessing
from train.snapshot import Examples, Split, profile
from train.tracking.page_text import Origin, version_page_text
from train.tracking.run import TrackedRun
from train.tracking.version_page import with_verdict
from train.verdict import Verdict

CARD = "model_card.md"


def peak_memory_mb() -> float:
    """The peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))


def fit_params(context: TrainingContext, fitted: Fitted) -> dict[str, Json]:
    """The fit as params of the run: its plan, the size of the network, the backbone."""
    pipeline = context.pipeline
    params: dict[str, Json] = {
        **{f"plan_{name}": value for name, value in fitted.params.items()},
        "weights": fitted.model.count_params(),
        "members": fitted.model.outputs[0].shape[1],
    }
    if pipeline.kind == "image":
        published = {FROM_SCRATCH: "none", INSTALLED: "installed"}.get(pipeline.backbone, IMAGENET)
        weights = published if pipeline.weights is None else pipeline.weights.sha256
        params |= {"image_size": pipeline.image_size, "backbone": pipeline.backbone, "backbone_weights": weights}
    return params


def example_inputs(preprocessing: Preprocessing, examples: Examples) -> list[Any]:
    """A few inputs for MLflow's input example, from the tune split, which never holds what people sent."""
    inputs = examples.of(Split.TUNE)[0][:3]
    return list(preprocessing.encode(inputs)) if preprocessing.is_image else inputs


def log_version_page(
    context: TrainingContext, examples: Examples, contract: Contract, how: JsonObject, run: TrackedRun
) -> str:
    """The version's page. The run gets a copy with tables of any length."""
    origin = Origin(
        source=context.retry(Dataset(context.store, context.pipeline.name).source),
        profile=profile(context.pipeline, examples),
        how={"budget_s": context.budget_s, "seed": context.pipeline.train.seed, **how},
        mlflow_url=context.settings.mlflow_url,
    )
    context.retry(lambda: run.log_text(version_page_text(contract, origin, limit=None), CARD))
    return version_page_text(contract, origin)


def log_verdict(run: TrackedRun, version: str, verdict: Verdict) -> None:
    """Write version and verdict into the run's model card, if it has one. Raises RegistryUnavailable."""
    page = run.read_text(CARD)
    if page is not None:
        run.log_text(with_verdict(page, version, verdict, limit=None), CARD)
