"""Settings: read once from the environment into a frozen value, every mistake reported together.

Each function has its own model (fetch_batch/settings.py, train/settings.py, classify/settings.py) on top of these.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from common.documents import field_errors
from common.errors import FieldError, WrongSettings
from common.redaction import HIDDEN, redact

FUNCTIONS = Path(__file__).resolve().parent.parent
# As browsers send it in `Origin`: they leave out the default port.
ORIGIN = re.compile(r"http://[\w.-]+(:(?!80\Z)\d+)?|https://[\w.-]+(:(?!443\Z)\d+)?", re.ASCII)


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("not an absolute path")
    return path


def _url(text: str) -> str:
    if urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).netloc:
        raise ValueError("not an http(s) URL")
    return text.rstrip("/")


def _store(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
        return text
    if parts.scheme == "s3" and parts.netloc:
        return text.rstrip("/")
    raise ValueError("neither file:///an/absolute/folder nor s3://bucket/prefix")


def _origins(text: object) -> object:
    if not isinstance(text, str):
        return text
    origins = tuple(text.replace(",", " ").split())
    if wrong := [origin for origin in origins if origin != "*" and not ORIGIN.fullmatch(origin)]:
        raise ValueError(
            f"{', '.join(wrong)}: not an origin as a browser sends it, which is `https://HOST` or `https://HOST:8443` "
            "without a path, a final slash or the default port"
        )
    return origins


Folder = Annotated[Path, AfterValidator(_absolute)]
Url = Annotated[str, AfterValidator(_url)]
StoreUrl = Annotated[str, AfterValidator(_store)]
Origins = Annotated[tuple[str, ...], BeforeValidator(_origins)]
Positive = Annotated[float, Field(gt=0, lt=1e9)]
Seconds = Annotated[float, Field(ge=0, lt=1e9)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """What every function reads. `environment` is the mapping that the settings were read from."""

    model_config = ConfigDict(frozen=True, validate_by_name=True, validate_by_alias=True)

    function: str = Field(
        "", alias="FUNCTION", description="which function this is; the names of its own secrets begin with it"
    )
    host: str = Field("0.0.0.0", alias="HOST", description="address that the function listens at, not a name")  # noqa: S104 (in a container, the only address that its platform reaches)
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        8080, alias="PORT", description="port that the function listens at"
    )
    secrets: Folder = Field(
        Path("/var/openfaas/secrets"), alias="SABUESO_SECRETS", description="folder of the secret files"
    )
    scratch: Folder = Field(
        Path(tempfile.gettempdir(), "sabueso"),
        alias="SABUESO_SCRATCH",
        description="the only folder a function writes to",
    )
    pipelines: Folder = Field(
        FUNCTIONS / "pipelines",
        alias="SABUESO_PIPELINES",
        description="absolute path of the folder of the pipeline files; default: the folder `pipelines` beside the "
        "code (`/home/app/pipelines` in an image)",
    )
    max_body_mb: Positive = Field(20, alias="SABUESO_MAX_BODY_MB", description="largest request body, in megabytes")
    calls: Count = Field(
        16, alias="SABUESO_CALLS", description="calls that one worker handles at once; others wait `SABUESO_QUEUE_S`"
    )
    queue_s: Seconds = Field(
        2,
        alias="SABUESO_QUEUE_S",
        description="seconds that a call waits for its turn among those handled, and again for its turn to compute; "
        "then it gets 503",
    )
    linger_s: Seconds = Field(
        0,
        alias="SABUESO_LINGER_S",
        description="seconds that a function keeps answering after SIGTERM; images set 6, more than the watchdog's "
        "`healthcheck_interval`",
    )
    cors_origins: Origins = Field(
        (),
        alias="SABUESO_CORS_ORIGINS",
        description="origins whose pages may call the function from a browser: `https://site.example` or "
        "`https://site.example:8443`, separated by commas or spaces; `*`: any; empty: none",
    )
    deployment: str = Field(
        "",
        alias="SABUESO_DEPLOYMENT",
        description="shown by `/readyz`, so that `scripts/deploy` recognises the new deployment",
    )
    environment: Mapping[str, str] = Field(default_factory=dict, repr=False)

    @property
    def max_body(self) -> int:
        """Bytes that a request's body may have."""
        return int(self.max_body_mb * 1_000_000)

    @property
    def worker_count(self) -> int:
        """Worker processes of this function."""
        return 1

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Settings from a mapping such as os.environ; an empty variable counts as not set.

        Raises WrongSettings with every mistake.
        """
        known = variables(cls)
        given = {name: text for name in known if (text := environment.get(name, "").strip())}
        try:
            return cls.model_validate({**given, "environment": dict(environment)})
        except ValidationError as error:
            raise WrongSettings("The settings", _mistakes(error, known, given)) from None

    def secret(self, name: str) -> str:
        """The secret's text, read now, so that an update takes effect at once.

        Raises WrongSettings if the file is missing or empty.
        """
        path = self.secrets / name
        try:
            text = path.read_text().strip()
        except OSError as error:
            mistake = FieldError(name, f"no readable file {path} ({error.strerror})")
            raise WrongSettings("The secrets", [mistake]) from None
        if not text:
            raise WrongSettings("The secrets", [FieldError(name, f"the file {path} is empty")])
        return text

    def own_secret(self, name: str) -> str:
        """A secret of which each function has its own (a key, a password): the file FUNCTION-NAME.

        Raises WrongSettings if it is missing or empty.
        """
        return self.secret(self.own_secret_name(name))

    def own_secret_name(self, name: str) -> str:
        return f"{self.function}-{name}" if self.function else name


class StoreSettings(Settings):
    """For functions that use the object store: fetch-batch and train."""

    store: StoreUrl | None = Field(
        None, alias="SABUESO_STORE", description="object store: `file:///dir` or `s3://bucket/prefix`"
    )
    s3_endpoint: Url | None = Field(None, alias="AWS_ENDPOINT_URL_S3", description="URL of the S3 server; empty: AWS")
    s3_region: str = Field("us-east-1", alias="AWS_DEFAULT_REGION", description="S3 region")
    lease_s: Positive = Field(
        60, alias="SABUESO_LEASE_S", description="seconds after which the lease of a dead holder expires"
    )

    def require_store(self) -> str:
        """The store's URL. Raises WrongSettings if there is none."""
        if self.store is None:
            missing = FieldError("SABUESO_STORE", "missing: this function needs an object store")
            raise WrongSettings("The settings", [missing])
        return self.store


class RegistrySettings(Settings):
    """For functions that use MLflow: train and classify."""

    mlflow_uri: Url = Field(
        "http://127.0.0.1:5000", alias="MLFLOW_TRACKING_URI", description="MLflow's tracking server"
    )
    mlflow_user: str = Field(
        "",
        alias="MLFLOW_TRACKING_USERNAME",
        description="MLflow account; its password is the secret `FUNCTION-mlflow-password`",
    )


def variables(settings: type[Settings]) -> dict[str, str]:
    """The environment variables that these settings are read from, and the meaning of each."""
    fields = settings.model_fields.values()
    return {field.alias: field.description or "" for field in fields if field.alias is not None}


def _mistakes(error: ValidationError, known: Mapping[str, str], given: Mapping[str, str]) -> list[FieldError]:
    """One mistake per variable, with its value and its meaning."""
    reasons: dict[str, str] = {}
    for one, raw in zip(field_errors(error), error.errors(), strict=True):
        reasons.setdefault(str(raw["loc"][0]), one.detail)
    return [FieldError(name, f"{_shown(given[name])!r}: {why} ({known[name]})") for name, why in reasons.items()]


def _shown(value: str) -> str:
    """A wrong value: it may be a URL that is too wrong to find its password in it."""
    _, at, rest = redact(value).rpartition("@")
    return f"{HIDDEN}@{rest}" if at else rest
