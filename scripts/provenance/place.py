"""Where store and MLflow are: the environment as for the functions, a demo's folder, or infra/.env."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backups.deployment import RootKey
from common.datasets import Dataset
from common.errors import FieldError, NotFound, WrongSettings
from common.objects import open_objects
from common.pipelines import Pipeline, pick, read_pipelines
from common.registry import CHAMPION, Registry
from common.settings import Settings, read_settings
from deployment.env_file import ENV_FILE, read_env, read_settings_of

DEMO = Path(".sabueso")
DEMO_FILE = "settings.env"
ASK = "name one: --home FOLDER of a demo, --env FILE of a deployment, or SABUESO_STORE in the environment"


@dataclass(frozen=True)
class Place:
    """One pipeline's stored data and its versions."""

    pipeline: Pipeline
    dataset: Dataset
    registry: Registry

    def versions(self) -> list[dict[str, Any]]:
        """All versions, newest first. Raises RegistryUnavailable."""
        return self.registry.versions(self.pipeline.name)

    def version(self, wanted: str) -> tuple[str, str]:
        """Number and snapshot of a version, given by number or alias. Raises NotFound, RegistryUnavailable."""
        name = self.pipeline.name
        number = wanted if wanted.isdecimal() else self.registry.version_of(name, wanted)
        found = None if number is None else self.registry.version(name, number)
        if number is None or found is None:
            known = ", ".join(str(one["version"]) for one in self.versions()) or "none"
            what = "version" if wanted.isdecimal() else "alias"
            raise NotFound(f"MLflow has no {what} {wanted} of {name}; its versions: {known}")
        fingerprint = found["tags"].get("sabueso.snapshot")
        if not fingerprint:
            raise NotFound(f"version {number} of {name} has no tag sabueso.snapshot: train did not make it")
        return number, fingerprint

    def champion(self) -> str | None:
        return self.registry.version_of(self.pipeline.name, CHAMPION)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", metavar="PIPELINE")
    where = parser.add_argument_group(
        "where the data are (default: the environment, else a demo's .sabueso, infra/.env)"
    )
    where.add_argument("--home", type=Path, metavar="FOLDER", help="of scripts/demo")
    where.add_argument("--env", type=Path, metavar="FILE", help="settings of a deployment, as infra/.env")
    where.add_argument("--s3-endpoint", metavar="URL", help="with --env: default http://127.0.0.1:$MINIO_PORT")
    where.add_argument("--mlflow", metavar="URL", help="default: that of the settings")


def open_place(given: argparse.Namespace, environment: Mapping[str, str]) -> Place:
    """Raises WrongSettings, NotFound for a pipeline that there is not."""
    settings = find_settings(given, environment)
    url = settings.require_store()
    folder = Path(urlsplit(url).path)
    if url.startswith("file:") and not folder.is_dir():
        raise WrongSettings("The settings", [FieldError("SABUESO_STORE", f"no folder {folder}")])
    pipeline = pick(read_pipelines(settings.pipelines), given.pipeline)
    # By its address: who only reads does not try the store's conditional writes.
    return Place(pipeline, Dataset(open_objects(settings, url), pipeline.name), Registry(settings))


def find_settings(given: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """What was named; else SABUESO_STORE in the environment; else the one place of both that is there."""
    over = {"MLFLOW_TRACKING_URI": given.mlflow} if given.mlflow else {}
    if given.home is not None:
        return _of_demo(given.home, over)
    if given.env is not None:
        return _of_deployment(given, environment, over)
    if environment.get("SABUESO_STORE"):
        return read_settings({**environment, **over})
    demo, deployed = (DEMO / DEMO_FILE).is_file(), ENV_FILE.is_file()
    if demo == deployed:
        told = f"both {DEMO}/ and {ENV_FILE} are there" if demo else f"neither {DEMO}/ nor {ENV_FILE} is there"
        raise WrongSettings("The settings", [FieldError("SABUESO_STORE", f"missing, and {told}; {ASK}")])
    return _of_demo(DEMO, over) if demo else _of_deployment(given, environment, over)


def _of_demo(home: Path, over: Mapping[str, str]) -> Settings:
    file = home / DEMO_FILE
    if not file.is_file():
        raise WrongSettings("The settings", [FieldError("--home", f"no {file}: scripts/demo writes it when it starts")])
    return read_settings({**read_env(file.read_text(encoding="utf-8")), **over})


def _of_deployment(given: argparse.Namespace, environment: Mapping[str, str], over: Mapping[str, str]) -> Settings:
    """As this machine reaches compose's servers, with train's key of the store and classify's account: both read."""
    file = given.env or ENV_FILE
    values = read_settings_of(file, environment)
    needed = ("TRAIN_S3_SECRET_KEY", "MLFLOW_CLASSIFY_PASSWORD")
    missing = [FieldError(name, f"missing in {file}") for name in needed if name not in values]
    if missing:
        raise WrongSettings("The settings", missing)
    settings = read_settings(
        {
            "SABUESO_STORE": values.get("SABUESO_STORE", "s3://sabueso"),
            "SABUESO_PIPELINES": values.get("SABUESO_PIPELINES", ""),
            "AWS_ENDPOINT_URL_S3": given.s3_endpoint or f"http://127.0.0.1:{values.get('MINIO_PORT', 9000)}",
            "AWS_DEFAULT_REGION": values.get("AWS_DEFAULT_REGION", ""),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{values.get('MLFLOW_PORT', 5000)}",
            "MLFLOW_TRACKING_USERNAME": values.get("MLFLOW_CLASSIFY_USERNAME", "classify"),
            **over,
        }
    )
    keys = {
        "s3-access-key": values.get("TRAIN_S3_ACCESS_KEY", "train"),
        "s3-secret-key": values["TRAIN_S3_SECRET_KEY"],
        "mlflow-password": values["MLFLOW_CLASSIFY_PASSWORD"],
    }
    return RootKey(**vars(settings), keys=keys)
