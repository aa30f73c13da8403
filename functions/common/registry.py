"""MLflow's registry and artifacts over REST, without MLflow's own client."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from common.errors import BundleRefused, RegistryUnavailable, SabuesoError
from common.redaction import shown_url
from common.settings import RegistrySettings

CHAMPION = "champion"
TIMEOUT_S = (3, 20)
MAX_FILE = 500_000_000
SERVING = "artifacts/serving"
_DATABASE = re.compile(r"OperationalError|InterfaceError|TEMPORARILY_UNAVAILABLE|Can't connect|Lost connection")
_KEY = re.compile(r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|NoSuchBucket")
_FULL = re.compile(r"XMinioStorageFull|InsufficientStorage|\w*QuotaExceeded")
_ARTIFACTS = re.compile(r"Could not connect to the endpoint|EndpointConnection|ConnectTimeout|botocore|boto3")


def refusal(settings: RegistrySettings, what: str, status: int, text: str) -> SabuesoError:
    """The error for an unexpected answer of MLflow. `text`: the answer, of which at most a part is shown.

    RegistryUnavailable if waiting or a person helps; else an error that quotes MLflow.
    """
    where = shown_url(settings.mlflow_uri)
    if status == 401:
        secret = settings.own_secret_name("mlflow-password")
        return RegistryUnavailable(where, what, f"Check MLFLOW_TRACKING_USERNAME and the secret {secret}.")
    if status == 403 and "host header" in text.lower():
        return RegistryUnavailable(where, what, "Add the host name that callers use to MLFLOW_ALLOWED_HOSTS.")
    if status == 403:
        return RegistryUnavailable(where, what, "This account lacks the permission: docs/secrets-and-accounts.md.")
    if status < 500 and status != 429 and not _DATABASE.search(text):
        return SabuesoError(f"MLflow at {where} refused: {what}: {text[:300]}")
    key = _KEY.search(text)
    if key is not None:
        what = f"{what}: its artifact store refused it ({key[0]})"
        return RegistryUnavailable(where, what, "Check MLflow's own key and bucket: the service `accounts` makes both.")
    full = _FULL.search(text)
    if full is not None:
        what = f"{what}: its artifact store is full ({full[0]})"
        return RegistryUnavailable(where, what, "Make room there; work then continues by itself.")
    if _DATABASE.search(text):
        what = f"{what}: its database does not answer"
        return RegistryUnavailable(where, what, "Start the database; work then continues by itself.")
    if _ARTIFACTS.search(text):
        what = f"{what}: its artifact store does not answer"
        return RegistryUnavailable(where, what, "Start the store; work then continues by itself.")
    return RegistryUnavailable(where, what, "Check its log; work continues by itself once it is back.")


class Registry:
    """Reads aliases and bundles. Every method raises RegistryUnavailable if MLflow does not answer."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.where = shown_url(settings.mlflow_uri)
        self.settings = settings
        self._session = requests.Session()
        # The machine's proxy and .netrc are not meant for our own MLflow.
        self._session.trust_env = False

    def version_of(self, name: str, alias: str = CHAMPION) -> str | None:
        """The version an alias points to, or None if there is no such model or alias."""
        answer = self.call("GET", "registered-models/alias", params={"name": name, "alias": alias})
        return None if answer is None else str(answer["model_version"]["version"])

    def download_bundle(self, name: str, version: str, folder: Path) -> None:
        """The files of a version's bundle into folder (which exists), through MLflow's artifact proxy.

        Raises BundleRefused if the version has none.
        """
        answer = self.call("GET", "model-versions/get-download-uri", params={"name": name, "version": version})
        if answer is None:
            raise BundleRefused(f"MLflow has no files of version {version} of {name}")
        uri = str(answer["artifact_uri"])
        if not uri.startswith("mlflow-artifacts:/"):
            raise BundleRefused(
                f"its files are not behind MLflow's proxy ({uri.split(':')[0]}); start MLflow with --serve-artifacts"
            )
        root = f"{uri.removeprefix('mlflow-artifacts:/').strip('/')}/{SERVING}"
        listed = self.call("GET", "mlflow-artifacts/artifacts", params={"path": root}) or {}
        names = [Path(entry["path"]).name for entry in listed.get("files", []) if not entry.get("is_dir")]
        if not names:
            raise BundleRefused(f"version {version} of {name} holds no bundle: it was not made by train")
        for one in names:
            self._download(f"mlflow-artifacts/artifacts/{quote(f'{root}/{one}')}", folder / one)

    def _download(self, path: str, target: Path) -> None:
        with self._send("GET", path, stream=True) as answer, target.open("wb") as file:
            if not answer.ok:
                raise self._refusal(target.name, answer)
            size = 0
            try:
                for part in answer.iter_content(1 << 20):
                    size += len(part)
                    if size > MAX_FILE:
                        raise BundleRefused(f"{target.name} is larger than {MAX_FILE} bytes")
                    file.write(part)
            except requests.RequestException as error:
                raise RegistryUnavailable(self.where, type(error).__name__) from None

    def call(self, method: str, path: str, **request: Any) -> dict[str, Any] | None:
        """The JSON answer of MLflow's REST API; None if what was asked for does not exist."""
        answer = self._send(method, path, **request)
        try:
            body = answer.json()
        except ValueError:
            body = {}
        if answer.ok:
            return dict(body)
        code = body.get("error_code", "") if isinstance(body, dict) else ""
        missing = code == "INVALID_PARAMETER_VALUE" and "alias" in str(body.get("message", "")).lower()
        if code == "RESOURCE_DOES_NOT_EXIST" or missing:
            return None
        raise self._refusal(path, answer, code)

    def _refusal(self, what: str, answer: requests.Response, code: str = "") -> SabuesoError:
        summary = f"{what} answered {answer.status_code} {code}".strip()
        return refusal(self.settings, summary, answer.status_code, answer.text)

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:
        user = self.settings.mlflow_user
        auth = (user, self.settings.own_secret("mlflow-password")) if user else None
        try:
            return self._session.request(
                method, f"{self.settings.mlflow_uri}/api/2.0/{_api(path)}", timeout=TIMEOUT_S, auth=auth, **request
            )
        except requests.RequestException as error:
            raise RegistryUnavailable(self.where, f"no connection to it ({type(error).__name__})") from None


def _api(path: str) -> str:
    return path if path.startswith("mlflow-artifacts/") else f"mlflow/{path}"
