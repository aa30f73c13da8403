"""What MLflow is told of a training run: live metrics, what it was made of, figures, the model, the version."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
import requests
from mlflow.entities import DatasetInput, Metric
from mlflow.exceptions import MlflowException, RestException

from common.errors import RegistryUnavailable
from common.pipelines import Pipeline
from common.registry import Registry, refusal
from common.settings import Settings
from train.patience import QUIET_S
from train.report.logged_model import log_model
from train.report.system_metrics import SystemMetrics

MOST_METRICS = 1000
LOG = logging.getLogger("sabueso.train")


def connect(settings: Settings) -> None:
    """Point MLflow's client at the server; it reads account and password from the environment of this process."""
    # Its own repeats would stop a fit for minutes, and repeat what must not be done twice; we wait by ourselves.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    if settings.mlflow_user:
        os.environ["MLFLOW_TRACKING_USERNAME"] = settings.mlflow_user
        os.environ["MLFLOW_TRACKING_PASSWORD"] = settings.own_secret("mlflow-password")
    mlflow.set_tracking_uri(settings.mlflow_uri)
    mlflow.set_registry_uri(settings.mlflow_uri)


@contextmanager
def asked(registry: Registry, settings: Settings) -> Iterator[None]:
    """Raises RegistryUnavailable for every failure that may pass or that a person can mend; others as they are."""
    try:
        yield
    except (MlflowException, requests.RequestException) as error:
        told = str(error)
        status = error.get_http_status_code() if isinstance(error, RestException) else _status(told)
        if status is not None and status < 500:
            refused = refusal(settings, f"a call answered {status}", status, told)
            raise (refused if isinstance(refused, RegistryUnavailable) else error) from None
        # MLflow's client hides what the server said: ask once more in plain words.
        registry.check()
        what = "a file was not taken" if "mlflow-artifacts" in told else "a call failed"
        why = "its artifact store does not take it" if "mlflow-artifacts" in told else type(error).__name__
        raise RegistryUnavailable(
            registry.where, f"{what}: {why}", "Look at MLflow's log, and at the store's."
        ) from None


def _status(told: str) -> int | None:
    """The HTTP status that a failure of MLflow's client was about; None where it is about no answer at all.

    A failure that has to do with no server is one that repeating does not mend: 400.
    """
    found = re.search(r"error code (\d{3})|too many (\d{3}) error|(\d{3}) (?:Client|Server) Error", told)
    if found:
        return int(next(one for one in found.groups() if one))
    return None if "failed with exception" in told or "Timed out" in told or "onnection" in told else 400


class Tracking:
    """One MLflow run of one execution: found again by its tag, so that nothing is made twice by asking again.

    All but `metrics` raise RegistryUnavailable and may be called again after it.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, run_id: str | None, tags: dict[str, str]) -> None:
        self.pipeline, self.settings, self.registry = pipeline, settings, Registry(settings)
        self._unsent: list[Metric] = []
        self._quiet_until = 0.0
        self._system: SystemMetrics | None = None
        with asked(self.registry, self.settings):
            connect(settings)
            experiment = mlflow.set_experiment(f"sabueso-{pipeline.name}").experiment_id
            self.client = mlflow.MlflowClient()
            self.run_id = run_id or self._run_of(experiment, tags)
            self._began_ms = mlflow.start_run(run_id=self.run_id, log_system_metrics=False).info.start_time
        public = settings.mlflow_public or settings.mlflow_uri
        self.url = f"{public}/#/experiments/{experiment}/runs/{self.run_id}"

    def _run_of(self, experiment: str, tags: dict[str, str]) -> str:
        """The run of this execution, or one that a job left which died before it could write its run down."""
        names = ("sabueso.snapshot", "sabueso.settings")
        same = [f"tags.`{name}` = '{tags[name]}'" for name in names if name in tags]
        left = [" and ".join([*same, "attributes.status = 'RUNNING'"])] if len(same) == len(names) else []
        for wanted in (f"tags.`sabueso.execution` = '{tags['sabueso.execution']}'", *left):
            found = self.client.search_runs([experiment], wanted, max_results=1)
            if found:
                return str(found[0].info.run_id)
        job = {"mlflow.source.name": "train", "mlflow.source.type": "JOB"}
        return str(self.client.create_run(experiment, tags={**job, **tags}).info.run_id)

    @contextmanager
    def system_metrics(self) -> Iterator[None]:
        """Sample CPU and memory meanwhile; the samples are sent along with the other metrics."""
        with SystemMetrics(self._began_ms / 1000) as self._system:
            yield

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Log now, or, while MLflow is away, with the next ones."""
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
            part = self._unsent[:MOST_METRICS]
            with asked(self.registry, self.settings):
                self.client.log_batch(self.run_id, metrics=part)
            del self._unsent[:MOST_METRICS]

    def curve(self, points: list[dict[str, Any]]) -> None:
        """Send those epochs of a fit that the run lacks: a process that ended took what it kept for later with it."""
        self.send_metrics()
        with asked(self.registry, self.settings):
            for name in points[0].keys() - {"epoch", "time"}:
                known = {one.step for one in self.client.get_metric_history(self.run_id, name)}
                lacking = [point for point in points if point["epoch"] not in known]
                self._unsent += [Metric(name, point[name], point["time"], point["epoch"]) for point in lacking]
        self.send_metrics()

    def params(self, values: dict[str, Any]) -> None:
        """Log them; what the run says already stays (a fit that had to begin again may have another plan)."""
        with asked(self.registry, self.settings):
            known = self.client.get_run(self.run_id).data.params
            mlflow.log_params({key: value for key, value in values.items() if key not in known})

    def dataset(self, data: DatasetInput) -> None:
        """The snapshot as dataset input; asked again MLflow keeps it once."""
        with asked(self.registry, self.settings):
            self.client.log_inputs(self.run_id, [data])

    def figure(self, figure: Any, name: str) -> None:
        with asked(self.registry, self.settings):
            mlflow.log_figure(figure, f"figures/{name}.png")

    def table(self, rows: list[dict[str, Any]], name: str) -> None:
        with asked(self.registry, self.settings):
            mlflow.log_dict({"rows": rows}, name)

    def text(self, text: str, name: str) -> None:
        with asked(self.registry, self.settings):
            mlflow.log_text(text, name)

    def read(self, name: str) -> str | None:
        """A text that the run has as artifact; None where it has no such file."""
        with asked(self.registry, self.settings):
            if name not in {file.path for file in self.client.list_artifacts(self.run_id)}:
                return None
            return str(mlflow.artifacts.load_text(f"runs:/{self.run_id}/{name}"))

    def register(
        self, serving: Path, examples: list[Any], tags: dict[str, str], description: str, about: str = ""
    ) -> str:
        """Log the model from code with its bundle, register it; returns the version.

        `about` describes the registered model, where this call is the first to make one of that name.
        What an earlier call left half done is taken away; a version that it registered is returned. Metrics that wait
        are sent first: a version that is left after this is judged, not measured again.
        """
        self.send_metrics()
        with asked(self.registry, self.settings):
            known = self.client.search_model_versions(f"name='{self.pipeline.name}' and run_id='{self.run_id}'")
            ours = [one for one in known if one.tags.get("sabueso.execution") == tags["sabueso.execution"]]
            if ours:
                return str(ours[0].version)
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
                tags=tags,
                description=description,
                model_id=model.model_id,
            )
        return str(version.version)

    def _log_model(self, serving: Path, examples: list[Any], used: set[str | None]) -> Any:
        experiment = self.client.get_run(self.run_id).info.experiment_id
        for left in self.client.search_logged_models([experiment], filter_string=f"source_run_id = '{self.run_id}'"):
            if left.model_id not in used:
                with suppress(MlflowException):  # tidiness: an account that may not delete goes on without
                    self.client.delete_logged_model(left.model_id)
        return log_model(self.pipeline, serving, examples)

    def end(self, status: str) -> None:
        self.send_metrics()
        with asked(self.registry, self.settings):
            if mlflow.active_run() is not None:  # the first call takes it off MLflow's stack, whatever comes of it
                mlflow.end_run(status)
            else:
                self.client.set_terminated(self.run_id, status)
