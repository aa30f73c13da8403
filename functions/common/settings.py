"""Settings: read once from the environment into a frozen value; every mistake reported together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.container import cores, memory_mb
from common.errors import FieldError, WrongSettings

# On machines with more cores replicas are the way. A worker that answers the largest body takes so much memory.
MOST_WORKERS, WORKER_MB = 4, 300
FUNCTIONS = Path(__file__).resolve().parent.parent


def _text(raw: str) -> str:
    return raw


def _url(raw: str) -> str:
    if urlsplit(raw).scheme not in ("http", "https") or not urlsplit(raw).netloc:
        raise ValueError("not an http(s) URL")
    return raw.rstrip("/")


def _store(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme == "file" and parts.path.startswith("/"):
        return raw
    if parts.scheme == "s3" and parts.netloc:
        return raw.rstrip("/")
    raise ValueError("neither file:///an/absolute/folder nor s3://bucket/prefix")


def _folder(raw: str) -> Path:
    path = Path(raw)
    if not path.is_absolute():
        raise ValueError("not an absolute path")
    return path


def _positive(raw: str) -> float:
    value = float(raw)
    if not 0 < value < 1e9:
        raise ValueError("not a number above 0")
    return value


def _seconds(raw: str) -> float:
    return _positive(raw) if float(raw) else 0.0


def _optional(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda raw: read(raw) if raw else None


def _count(raw: str) -> int:
    value = int(raw)
    if value < 1:
        raise ValueError("not a whole number above 0")
    return value


def _workers(raw: str) -> int:
    if raw:
        return _count(raw)
    memory = memory_mb()
    return min(cores(), MOST_WORKERS, MOST_WORKERS if memory is None else max(1, int(memory / WORKER_MB)))


def _per_pipeline(read: Callable[[str], Any]) -> Callable[[str], Mapping[str, Any]]:
    """`300` for every pipeline (under the name ""), or `NAME=300,OTHER=60`."""

    def read_all(raw: str) -> Mapping[str, Any]:
        pairs = [part.rpartition("=") for part in raw.split(",") if part]
        return {name.strip(): read(value) for name, _, value in pairs}

    return read_all


@dataclass(frozen=True)
class Variable:
    """One environment variable: its default and its one-line meaning."""

    name: str
    field: str
    default: str
    read: Callable[[str], Any]
    meaning: str


_TMP = tempfile.gettempdir()
VARIABLES = (
    Variable("FUNCTION", "function", "", _text, "which function this is; secrets of its own begin with its name"),
    Variable("SABUESO_STORE", "store", "", _optional(_store), "object store: `file:///dir` or `s3://bucket/prefix`"),
    Variable("SABUESO_SECRETS", "secrets", "/var/openfaas/secrets", _folder, "folder of the secret files"),
    Variable("SABUESO_SCRATCH", "scratch", f"{_TMP}/sabueso", _folder, "the only folder a function writes to"),
    Variable("SABUESO_PIPELINES", "pipelines", f"{FUNCTIONS}/pipelines", _folder, "folder of the pipeline files"),
    Variable("MLFLOW_TRACKING_URI", "mlflow_uri", "http://127.0.0.1:5000", _url, "MLflow's tracking server"),
    Variable(
        "MLFLOW_TRACKING_USERNAME",
        "mlflow_user",
        "",
        _text,
        "MLflow account; its password is the secret `FUNCTION-mlflow-password`",
    ),
    Variable(
        "SABUESO_MLFLOW_PUBLIC_URL",
        "mlflow_public",
        "",
        _optional(_url),
        "where people reach MLflow's pages, for links",
    ),
    Variable(
        "OPENFAAS_URL", "gateway", "http://127.0.0.1:8080", _url, "the gateway through which fetch-batch calls train"
    ),
    Variable("AWS_ENDPOINT_URL_S3", "s3_endpoint", "", _optional(_url), "S3 server, for a store in MinIO"),
    Variable("AWS_DEFAULT_REGION", "s3_region", "us-east-1", _text, "S3 region"),
    Variable("SABUESO_LEASE_S", "lease_s", "60", _positive, "seconds after which a dead holder's lease is free"),
    Variable("SABUESO_REFRESH_S", "refresh_s", "15", _positive, "seconds between two looks for a new champion"),
    Variable("SABUESO_FETCH_S", "fetch_s", "18", _positive, "seconds after which one call of fetch-batch stops asking"),
    Variable(
        "SABUESO_SOURCE_TIMEOUT_S", "source_timeout_s", "10", _positive, "seconds given to one request to a source"
    ),
    Variable(
        "SABUESO_PATIENCE_S",
        "patience_s",
        "900",
        _positive,
        "seconds that a training waits for MLflow or the store; after that a later tick takes it up",
    ),
    Variable("SABUESO_MAX_BODY_MB", "max_body_mb", "20", _positive, "largest request body taken, in megabytes"),
    Variable(
        "SABUESO_LINGER_S",
        "linger_s",
        "0",
        _seconds,
        "seconds that a function goes on after SIGTERM; in an image more than the watchdog's `healthcheck_interval`",
    ),
    Variable(
        "SABUESO_WORKERS",
        "workers",
        "",
        _workers,
        "worker processes of `classify`; default: the cores that the container may use, 4 at most, and one for each "
        "300 MB of its memory limit",
    ),
    Variable("SABUESO_CALLS", "calls", "16", _count, "calls that one worker has at once; beyond, it answers 503"),
    Variable(
        "SABUESO_QUEUE_S",
        "queue_s",
        "2",
        _seconds,
        "seconds that a call waits for its turn to compute; then it gets 503",
    ),
    Variable(
        "SABUESO_TRAIN_MEMORY_MB",
        "train_memory_mb",
        "",
        _optional(_positive),
        "the job is stopped at 85 % of it, pages of mapped files not counted; default: the container's limit",
    ),
    Variable(
        "SABUESO_MIN_INTERVAL_S",
        "min_interval_s",
        "",
        _optional(_positive),
        "takes the place of every pipeline's min_interval_s",
    ),
    Variable(
        "SABUESO_SAMPLES_PER_BATCH",
        "samples_per_batch",
        "",
        _optional(_count),
        "takes the place of every pipeline's samples_per_batch",
    ),
    Variable(
        "SABUESO_BUDGET_S",
        "budgets_s",
        "",
        _per_pipeline(_positive),
        "takes the place of budget_s: `SECONDS` for every pipeline, or `NAME=SECONDS,...`",
    ),
    Variable(
        "SABUESO_EPOCHS",
        "epochs_by_pipeline",
        "",
        _per_pipeline(_count),
        "epochs of a fit: `NUMBER` for every pipeline, or `NAME=NUMBER,...`; default: as many as fit into budget_s",
    ),
    Variable("SABUESO_TRIGGER", "trigger", "on", _text, "`off`: fetch-batch never asks train by itself"),
    Variable("SABUESO_GIT_COMMIT", "git_commit", "unknown", _text, "commit of this image, kept with each version"),
    Variable(
        "SABUESO_DEPLOYMENT", "deployment", "", _text, "`/readyz` tells it, so that `scripts/deploy` knows the new one"
    ),
)


@dataclass(frozen=True)
class Settings:
    """All settings of a function. `environment` is what pipeline files may name as ${NAME}."""

    function: str
    store: str | None
    secrets: Path
    scratch: Path
    pipelines: Path
    mlflow_uri: str
    mlflow_user: str
    mlflow_public: str | None
    gateway: str
    s3_endpoint: str | None
    s3_region: str
    lease_s: float
    refresh_s: float
    fetch_s: float
    source_timeout_s: float
    patience_s: float
    max_body_mb: float
    linger_s: float
    workers: int
    calls: int
    queue_s: float
    train_memory_mb: float | None
    min_interval_s: float | None
    samples_per_batch: int | None
    budgets_s: Mapping[str, float]
    epochs_by_pipeline: Mapping[str, int]
    trigger: str
    git_commit: str
    deployment: str
    environment: Mapping[str, str]

    @property
    def max_body(self) -> int:
        """Bytes that a request's body may have."""
        return int(self.max_body_mb * 1_000_000)

    def secret(self, name: str) -> str:
        """The secret's text, read now so that an update shows at once.

        Raises WrongSettings if the file is missing or empty.
        """
        path = self.secrets / name
        try:
            text = path.read_text().strip()
        except OSError as error:
            raise WrongSettings(
                "The secrets", [FieldError(name, f"no readable file {path} ({error.strerror})")]
            ) from None
        if not text:
            raise WrongSettings("The secrets", [FieldError(name, f"the file {path} is empty")])
        return text

    def own_secret(self, name: str) -> str:
        """A secret that each function has its own of (a key, a password): the file FUNCTION-NAME.

        Raises WrongSettings if it is missing or empty.
        """
        return self.secret(self.own(name))

    def own(self, name: str) -> str:
        """The name of such a secret."""
        return f"{self.function}-{name}" if self.function else name

    def budget_s(self, pipeline: str, own: float) -> float:
        """Seconds that a training may take: the setting for this pipeline or for all, else its own."""
        return self.budgets_s.get(pipeline, self.budgets_s.get("", own))

    def epochs(self, pipeline: str) -> int | None:
        """Epochs of a fit, where a setting says so: for this pipeline or for all."""
        return self.epochs_by_pipeline.get(pipeline, self.epochs_by_pipeline.get(""))

    def require_store(self) -> str:
        if self.store is None:
            raise WrongSettings(
                "The settings", [FieldError("SABUESO_STORE", "missing: this function needs an object store")]
            )
        return self.store


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from a mapping such as os.environ. Raises WrongSettings with every mistake."""
    values: dict[str, Any] = {}
    errors = []
    for variable in VARIABLES:
        raw = environment.get(variable.name, "").strip() or variable.default
        try:
            values[variable.field] = variable.read(raw)
        except ValueError as error:
            errors.append(FieldError(variable.name, f"{raw!r}: {error} ({variable.meaning})"))
    if values.get("trigger") not in ("on", "off") and "trigger" in values:
        errors.append(FieldError("SABUESO_TRIGGER", f"{values['trigger']!r}: neither on nor off"))
    if errors:
        raise WrongSettings("The settings", errors)
    return Settings(**values, environment=dict(environment))
