"""Finds the store and MLflow: from the functions' environment variables, a demo's folder, or infra/.env."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field

from common.errors import FieldError, NotFound, WrongSettings
from common.pipeline_files import read_pipelines
from common.pipelines import Pipeline, pick
from common.registry import CHAMPION
from common.settings import RegistrySettings, StoreSettings
from common.storage.dataset import Dataset
from common.storage.open_store import open_store
from deployment.env_file import ENV_FILE, read_deployment_variables, read_env
from train.registry import ModelVersion, VersionRegistry

DEMO = Path(".sabueso")
DEMO_FILE = "settings.env"
ADVICE = "give --home FOLDER of a demo, --env FILE of a deployment, or set SABUESO_STORE"
NO_SNAPSHOT_TAG = "no tag sabueso.snapshot: the version was not made by train"


class ReaderSettings(StoreSettings, RegistrySettings):
    """Settings of the store and of MLflow. `keys`: secrets from infra/.env, instead of secret files."""

    keys: Mapping[str, str] = Field({}, repr=False)

    def own_secret(self, name: str) -> str:
        return self.keys[name] if self.keys else super().own_secret(name)

    def with_keys(self, keys: Mapping[str, str]) -> Self:
        return self.model_copy(update={"keys": keys})


@dataclass(frozen=True)
class DataAccess:
    """The stored data and the versions of one pipeline."""

    pipeline: Pipeline
    dataset: Dataset
    registry: VersionRegistry

    def versions(self) -> list[ModelVersion]:
        """All versions, newest first. Raises RegistryUnavailable."""
        return self.registry.versions(self.pipeline.name)

    def version(self, wanted: str) -> tuple[str, str]:
        """Number and snapshot of a version, given by number or alias. Raises NotFound, RegistryUnavailable."""
        name = self.pipeline.name
        number = wanted if wanted.isdecimal() else self.registry.version_of(name, wanted)
        version = None if number is None else self.registry.version(name, number)
        if version is None:
            known = ", ".join(version.number for version in self.versions()) or "none"
            what = "version" if wanted.isdecimal() else "alias"
            raise NotFound(f"MLflow has no {what} {wanted} of {name}; its versions: {known}")
        if not version.tags.snapshot:
            raise NotFound(f"version {version.number} of {name} has {NO_SNAPSHOT_TAG}")
        return version.number, version.tags.snapshot

    def champion(self) -> str | None:
        return self.registry.version_of(self.pipeline.name, CHAMPION)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", metavar="PIPELINE")
    where = parser.add_argument_group(
        "where the data are (default: the environment, else .sabueso of a demo or infra/.env)"
    )
    where.add_argument("--home", type=Path, metavar="FOLDER", help="folder of scripts/demo")
    where.add_argument("--env", type=Path, metavar="FILE", help="settings of a deployment, such as infra/.env")
    where.add_argument("--s3-endpoint", metavar="URL", help="with --env: default http://127.0.0.1:$MINIO_PORT")
    where.add_argument("--mlflow", metavar="URL", help="default: from the settings")


def open_data(arguments: argparse.Namespace, environment: Mapping[str, str]) -> DataAccess:
    """Raises WrongSettings, or NotFound if there is no such pipeline."""
    settings = find_settings(arguments, environment)
    url = settings.require_store()
    folder = Path(urlsplit(url).path)
    if url.startswith("file:") and not folder.is_dir():
        raise WrongSettings("The settings", [FieldError("SABUESO_STORE", f"no folder {folder}")])
    pipeline = pick(read_pipelines(settings.pipelines), arguments.pipeline)
    # With the URL, open_store does not probe conditional writes: these scripts only read.
    return DataAccess(pipeline, Dataset(open_store(settings, url), pipeline.name), VersionRegistry(settings))


def find_settings(arguments: argparse.Namespace, environment: Mapping[str, str]) -> ReaderSettings:
    """From the options; else from the environment if it sets SABUESO_STORE; else from the demo or from infra/.env."""
    overrides = {"MLFLOW_TRACKING_URI": arguments.mlflow} if arguments.mlflow else {}
    if arguments.home is not None:
        return _of_demo(arguments.home, overrides)
    if arguments.env is not None:
        return _of_deployment(arguments, environment, overrides)
    if environment.get("SABUESO_STORE"):
        return ReaderSettings.read({**environment, **overrides})
    has_demo, has_deployment = (DEMO / DEMO_FILE).is_file(), ENV_FILE.is_file()
    if has_demo == has_deployment:
        reason = f"both {DEMO}/ and {ENV_FILE} exist" if has_demo else f"neither {DEMO}/ nor {ENV_FILE} exists"
        raise WrongSettings("The settings", [FieldError("SABUESO_STORE", f"missing, and {reason}; {ADVICE}")])
    return _of_demo(DEMO, overrides) if has_demo else _of_deployment(arguments, environment, overrides)


def _of_demo(home: Path, overrides: Mapping[str, str]) -> ReaderSettings:
    file = home / DEMO_FILE
    if not file.is_file():
        raise WrongSettings("The settings", [FieldError("--home", f"no {file}: scripts/demo writes it when it starts")])
    return ReaderSettings.read({**read_env(file.read_text(encoding="utf-8")), **overrides})


def _of_deployment(
    arguments: argparse.Namespace, environment: Mapping[str, str], overrides: Mapping[str, str]
) -> ReaderSettings:
    """Compose's servers as this machine reaches them. train's S3 key and classify's MLflow account can read both."""
    file = arguments.env or ENV_FILE
    values = read_deployment_variables(file, environment)
    needed = ("TRAIN_S3_SECRET_KEY", "MLFLOW_CLASSIFY_PASSWORD")
    missing = [FieldError(name, f"missing in {file}") for name in needed if name not in values]
    if missing:
        raise WrongSettings("The settings", missing)
    settings = ReaderSettings.read(
        {
            "SABUESO_STORE": values.get("SABUESO_STORE", "s3://sabueso"),
            "SABUESO_PIPELINES": values.get("SABUESO_PIPELINES", ""),
            "AWS_ENDPOINT_URL_S3": arguments.s3_endpoint or f"http://127.0.0.1:{values.get('MINIO_PORT', 9000)}",
            "AWS_DEFAULT_REGION": values.get("AWS_DEFAULT_REGION", ""),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{values.get('MLFLOW_PORT', 5000)}",
            "MLFLOW_TRACKING_USERNAME": values.get("MLFLOW_CLASSIFY_USERNAME", "classify"),
            **overrides,
        }
    )
    return settings.with_keys(
        {
            "s3-access-key": values.get("TRAIN_S3_ACCESS_KEY", "train"),
            "s3-secret-key": values["TRAIN_S3_SECRET_KEY"],
            "mlflow-password": values["MLFLOW_CLASSIFY_PASSWORD"],
        }
    )
