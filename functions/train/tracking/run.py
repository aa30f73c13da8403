"""The MLflow run of a training: live metrics, params, data, figures, the model and its version."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
import requests
from mlflow.entities import DatasetInput, Metric
from mlflow.exceptions import MlflowException, RestException

from common.errors import RegistryUnavailable
from common.json_types import Json, JsonObject
from common.pipelines import Pipeline
from common.registry import refusal
from train.registry import VersionRegistry
from train.retry import QUIET_S
from train.settings import TrainSettings
from train.tracking.logged_model import log_model
from train.tracking.system_metrics import SystemMetrics
from train.version_tags import RunTags, read_tags

MAX_METRICS = 1000
LOG = logging.getLogger("sabueso.train")


def connect(settings: TrainSettings) -> None:
    """Point MLflow's client at the server. It reads account and password from the environment of this process."""
    # Its own retries would block a fit for minutes and repeat calls that are not safe to repeat.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    if settings.mlflow_user:
        os.environ["MLFLOW_TRACKING_USERNAME"] = settings.mlflow_user
        os.environ["MLFLOW_TRACKING_PASSWORD"] = settings.own_secret("mlflow-password")
    mlflow.set_tracking_uri(settings.mlflow_uri)
    mlflow.set_registry_uri(settings.mlflow_uri)


@contextmanager
def mlflow_errors(registry: VersionRegistry) -> Iterator[None]:
    """Raises RegistryUnavailable for a failure that waiting or a person can fix; others as they are."""
    try:
        yield
    except (MlflowException, requests.RequestException) as error:
        text = str(error)
        status = error.get_http_status_code() if isinstance(error, RestException) else _status(text)
        if status is not None and status < 500:
            refused = refusal(registry.settings, f"a call answered {status}", status, text)
            raise (refused if isinstance(refused, RegistryUnavailable) else error) from None
        # MLflow's client hides the server's answer; this call raises an error that shows it.
        registry.check()
        what = "uploading a file failed" if "mlflow-artifacts" in text else "a call failed"
        reason = f"{what}: {type(error).__name__}"
        raise RegistryUnavailable(registry.where, reason, "Check the logs of MLflow and the store.") from None


def _status(text: str) -> int | None:
    """The HTTP status in an error of MLflow's client; None if there was no answer.

    400 for an error that has nothing to do with the server: a retry does not help.
    """
    found = re.search(r"error code (\d{3})|too many (\d{3}) error|(\d{3}) (?:Client|Server) Error", text)
    if found:
        return int(next(one for one in found.groups() if one))
    return None if "failed with exception" in text or "Timed out" in text or "onnection" in text else 400


class TrackedRun:
    """The MLflow run of one execution. It is found again by its tags, so that a retry creates nothing twice.

    All methods but `log_metrics` raise RegistryUnavailable, and are safe to repeat.
    """

    def __init__(
        self, pipeline: Pipeline, registry: VersionRegistry, settings: TrainSettings, run_id: str | None, tags: RunTags
    ) -> None:
        self.pipeline, self.registry, self.tags = pipeline, registry, tags
        self._unsent: list[Metric] = []
        self._quiet_until = 0.0
        self._system: SystemMetrics | None = None
        with mlflow_errors(self.registry):
            connect(settings)
            experiment = mlflow.set_experiment(f"sabueso-{pipeline.name}").experiment_id
            self.client = mlflow.MlflowClient()
            self.run_id = run_id or self._find_or_create(experiment)
            self._began_ms = mlflow.start_run(run_id=self.run_id, log_system_metrics=False).info.start_time
        self.url = f"{settings.mlflow_url}/#/experiments/{experiment}/runs/{self.run_id}"

    def _find_or_create(self, experiment: str) -> str:
        """The run of this execution, or the running one of a job that died before it could record its run."""
        same_training = " and ".join([*self.tags.same_training(), "attributes.status = 'RUNNING'"])
        for query in (self.tags.same_execution(), same_training):
            runs = self.client.search_runs([experiment], query, max_results=1)
            if runs:
                return str(runs[0].info.run_id)
        job = {"mlflow.source.name": "train", "mlflow.source.type": "JOB"}
        return str(self.client.create_run(experiment, tags={**job, **self.tags.as_dict()}).info.run_id)

    @contextmanager
    def system_metrics(self) -> Iterator[None]:
        """Sample CPU and memory meanwhile; the samples are sent with the other metrics."""
        with SystemMetrics(self._began_ms / 1000) as self._system:
            yield

    def log_metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log now, or while MLflow is down with the next ones."""
        now = int(time.time() * 1000)
        self._unsent += [Metric(key, value, now, step or 0) for key, value in values.items()]
        if time.monotonic() < self._quiet_until:
            return
        try:
            self.send_metrics()
        except RegistryUnavailable as error:
            LOG.warning("metrics are kept for later: %s", error.detail)
            self._quiet_until = time.monotonic() + QUIET_S

    def send_metrics(self) -> None:
        self._unsent += self._system.take() if self._system is not None else []
        while self._unsent:
            with mlflow_errors(self.registry):
                self.client.log_batch(self.run_id, metrics=self._unsent[:MAX_METRICS])
            del self._unsent[:MAX_METRICS]

    def log_curve(self, points: list[dict[str, float]]) -> None:
        """Send the epochs of a fit that the run lacks: unsent metrics are lost with the process that kept them."""
        self.send_metrics()
        with mlflow_errors(self.registry):
            for name in points[0].keys() - {"epoch", "time"}:
                known = {one.step for one in self.client.get_metric_history(self.run_id, name)}
                missing = [point for point in points if point["epoch"] not in known]
                self._unsent += [Metric(name, one[name], int(one["time"]), int(one["epoch"])) for one in missing]
        self.send_metrics()

    def log_params(self, values: Mapping[str, Json]) -> None:
        """Log params. Those that the run has stay: a fit that had to start again may have another plan."""
        with mlflow_errors(self.registry):
            known = self.client.get_run(self.run_id).data.params
            mlflow.log_params({key: value for key, value in values.items() if key not in known})

    def log_dataset(self, data: DatasetInput) -> None:
        """Log the snapshot as dataset input."""
        with mlflow_errors(self.registry):
            self.client.log_inputs(self.run_id, [data])

    def log_figure(self, figure: Any, name: str) -> None:
        with mlflow_errors(self.registry):
            mlflow.log_figure(figure, f"figures/{name}.png")

    def log_table(self, rows: Sequence[JsonObject], name: str) -> None:
        with mlflow_errors(self.registry):
            mlflow.log_dict({"rows": list(rows)}, name)

    def log_text(self, text: str, name: str) -> None:
        with mlflow_errors(self.registry):
            mlflow.log_text(text, name)

    def read_text(self, name: str) -> str | None:
        """A text artifact of the run; None if it has no such file."""
        with mlflow_errors(self.registry):
            if name not in {file.path for file in self.client.list_artifacts(self.run_id)}:
                return None
            return str(mlflow.artifacts.load_text(f"runs:/{self.run_id}/{name}"))

    def register(
        self, serving: Path, examples: list[Any], tags: dict[str, str], description: str, about: str = ""
    ) -> str:
        """Log the model with its bundle and register it; returns the version.

        `about` describes the registered model, if this call creates it. A version that an earlier call registered is
        returned; what it left incomplete is removed. Unsent metrics are sent first: once the version exists, a resumed
        training judges it without measuring again.
        """
        self.send_metrics()
        with mlflow_errors(self.registry):
            known = self.client.search_model_versions(f"name='{self.pipeline.name}' and run_id='{self.run_id}'")
            own = [one for one in known if read_tags(one.tags).execution == self.tags.execution]
            if own:
                return str(own[0].version)
            model = self._log_model(serving, examples, {one.model_id for one in known})
            try:
                self.client.create_registered_model(self.pipeline.name, description=about)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = self.client.create_model_version(
                self.pipeline.name,
                model.model_uri,
                run_id=self.run_id,
                tags={**self.tags.as_dict(), **tags},
                description=description,
                model_id=model.model_id,
            )
        return str(version.version)

    def _log_model(self, serving: Path, examples: list[Any], used: set[str | None]) -> Any:
        experiment = self.client.get_run(self.run_id).info.experiment_id
        for old in self.client.search_logged_models([experiment], filter_string=f"source_run_id = '{self.run_id}'"):
            if old.model_id not in used:
                with suppress(MlflowException):  # only tidying up: the account may lack the permission to delete
                    self.client.delete_logged_model(old.model_id)
        return log_model(self.pipeline, serving, examples)

    def end(self, status: str) -> None:
        self.send_metrics()
        with mlflow_errors(self.registry):
            if mlflow.active_run() is not None:  # the first call removes it from MLflow's stack, even if it fails
                mlflow.end_run(status)
            else:
                self.client.set_terminated(self.run_id, status)
