"""MLflow's registry and artifacts over REST, for those who do without MLflow's own client."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from common.errors import BundleRefused, RegistryUnavailable, SabuesoError
from common.settings import Settings

CHAMPION = "champion"
TIMEOUT_S = (3, 20)
MAX_FILE = 500_000_000
SERVING = "artifacts/serving"
_DATABASE = re.compile(r"OperationalError|InterfaceError|TEMPORARILY_UNAVAILABLE|Can't connect|Lost connection")
_KEY = re.compile(r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|NoSuchBucket")
_FULL = re.compile(r"XMinioStorageFull|InsufficientStorage|\w*QuotaExceeded")
_ARTIFACTS = re.compile(r"Could not connect to the endpoint|EndpointConnection|ConnectTimeout|botocore|boto3")


def refusal(settings: Settings, what: str, status: int, told: str) -> SabuesoError:
    """What an unexpected answer of MLflow means for a person. `told`: its words, of which a part is shown at most.

    RegistryUnavailable where time or a person mends it; else an error that says what MLflow said.
    """
    where = settings.mlflow_uri
    if status == 401:
        secret = settings.own("mlflow-password")
        return RegistryUnavailable(where, what, f"Check MLFLOW_TRACKING_USERNAME and the secret {secret}.")
    if status == 403 and "host header" in told.lower():
        return RegistryUnavailable(where, what, "Add the name by which it is called to MLFLOW_ALLOWED_HOSTS.")
    if status == 403:
        return RegistryUnavailable(where, what, "This account may not do that: docs/operations.md, Accounts and keys.")
    if status < 500 and status != 429 and not _DATABASE.search(told):
        return SabuesoError(f"MLflow at {where} refused: {what}: {told[:300]}")
    key = _KEY.search(told)
    if key is not None:
        what = f"{what}: its artifact store refused it ({key[0]})"
        return RegistryUnavailable(where, what, "Check MLflow's own key and bucket: the service `accounts` makes both.")
    full = _FULL.search(told)
    if full is not None:
        what = f"{what}: its artifact store is full ({full[0]})"
        return RegistryUnavailable(where, what, "Make room there; then this goes on by itself.")
    if _DATABASE.search(told):
        what = f"{what}: its database does not answer"
        return RegistryUnavailable(where, what, "Start the database; then this goes on by itself.")
    if _ARTIFACTS.search(told):
        what = f"{what}: its artifact store does not answer"
        return RegistryUnavailable(where, what, "Start the store; then this goes on by itself.")
    return RegistryUnavailable(where, what, "Look at its log; this goes on by itself once it works again.")


class Registry:
    """Reads and moves aliases, reads bundles. Every method raises RegistryUnavailable if MLflow does not answer."""

    def __init__(self, settings: Settings) -> None:
        self.where = settings.mlflow_uri
        self._settings = settings
        self._session = requests.Session()
        # Only what the settings say: no proxy or .netrc of the machine stands between us and our own MLflow.
        self._session.trust_env = False

    def check(self) -> None:
        """One call that needs MLflow and its database. Raises RegistryUnavailable, saying which does not answer."""
        self._call("GET", "experiments/get-by-name", params={"experiment_name": "Default"})

    def version_of(self, name: str, alias: str = CHAMPION) -> str | None:
        """The version an alias points to, or None if there is no such model or alias."""
        found = self._call("GET", "registered-models/alias", params={"name": name, "alias": alias})
        return None if found is None else str(found["model_version"]["version"])

    def version(self, name: str, version: str) -> dict[str, Any] | None:
        """The model version as MLflow tells it, its tags as one dict; None if there is none."""
        found = self._call("GET", "model-versions/get", params={"name": name, "version": version})
        return None if found is None else _plain(found["model_version"])

    def versions(self, name: str) -> list[dict[str, Any]]:
        """All versions of a model, newest first."""
        listed: list[dict[str, Any]] = []
        token = ""
        while True:
            query = {"filter": f"name='{name}'", "max_results": "200", **({"page_token": token} if token else {})}
            page = self._call("GET", "model-versions/search", params=query) or {}
            listed += [_plain(one) for one in page.get("model_versions", [])]
            token = page.get("next_page_token", "")
            if not token:
                return sorted(listed, key=lambda one: -int(one["version"]))

    def move_alias(self, name: str, version: str, alias: str = CHAMPION) -> None:
        self._call("POST", "registered-models/alias", json={"name": name, "alias": alias, "version": version})

    def tag_version(self, name: str, version: str, tags: dict[str, str]) -> None:
        for key, value in tags.items():
            body = {"name": name, "version": version, "key": key, "value": value}
            self._call("POST", "model-versions/set-tag", json=body)

    def describe_version(self, name: str, version: str, text: str) -> None:
        """Markdown for a version's page, of 5,000 characters at most: MLflow's database takes no more."""
        self._call("PATCH", "model-versions/update", json={"name": name, "version": version, "description": text})

    def end_run(self, run_id: str, status: str) -> None:
        """Say that a run is over: `FINISHED`, `FAILED` or `KILLED`. No error if there is no such run."""
        body = {"run_id": run_id, "status": status, "end_time": int(time.time() * 1000)}
        self._call("POST", "runs/update", json=body)

    def download_bundle(self, name: str, version: str, folder: Path) -> None:
        """The files of a version's bundle into folder (which exists), through MLflow's artifact proxy.

        Raises BundleRefused where there is none, which no waiting mends.
        """
        found = self._call("GET", "model-versions/get-download-uri", params={"name": name, "version": version})
        if found is None:
            raise BundleRefused(f"MLflow has no files of version {version} of {name}")
        uri = str(found["artifact_uri"])
        if not uri.startswith("mlflow-artifacts:/"):
            raise BundleRefused(
                f"its files are not behind MLflow's proxy ({uri.split(':')[0]}); start MLflow with --serve-artifacts"
            )
        root = f"{uri.removeprefix('mlflow-artifacts:/').strip('/')}/{SERVING}"
        listed = self._call("GET", "mlflow-artifacts/artifacts", params={"path": root}) or {}
        names = [Path(entry["path"]).name for entry in listed.get("files", []) if not entry.get("is_dir")]
        if not names:
            raise BundleRefused(f"version {version} of {name} holds no bundle: train did not make it")
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

    def _call(self, method: str, path: str, **request: Any) -> dict[str, Any] | None:
        """The JSON answer; None where MLflow says that there is no such thing."""
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
        told = f"{what} answered {answer.status_code} {code}".strip()
        return refusal(self._settings, told, answer.status_code, answer.text)

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:
        user = self._settings.mlflow_user
        auth = (user, self._settings.own_secret("mlflow-password")) if user else None
        try:
            return self._session.request(
                method, f"{self.where}/api/2.0/{_api(path)}", timeout=TIMEOUT_S, auth=auth, **request
            )
        except requests.RequestException as error:
            raise RegistryUnavailable(self.where, f"no connection to it ({type(error).__name__})") from None


def _api(path: str) -> str:
    return path if path.startswith("mlflow-artifacts/") else f"mlflow/{path}"


def _plain(version: dict[str, Any]) -> dict[str, Any]:
    return {**version, "tags": {tag["key"]: tag.get("value", "") for tag in version.get("tags", [])}}
