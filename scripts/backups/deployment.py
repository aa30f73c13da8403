"""Where a deployment keeps its data, as this machine reaches it: infra/.env, and the environment over it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from backups.buckets import Bucket
from backups.database import Address, Database, Mysql, Postgres
from common.errors import FieldError, WrongSettings
from common.settings import Settings, read_settings
from deployment.env_file import ENV_FILE, read_settings_of

MISSING = "missing in the file and in the environment"
# By what they are for: the variable of each, and what compose takes where it is empty.
STORES = {"data": ("SABUESO_STORE", "s3://sabueso"), "artifacts": ("MLFLOW_BUCKET_URL", "s3://mlflow")}
MYSQL_PORT, POSTGRES_PORT, MINIO_PORT = 3306, 5432, 9000


@dataclass(frozen=True)
class RootKey(Settings):
    """Settings of a store whose key stands in infra/.env, not in secret files: no copy of it goes to the disk."""

    keys: Mapping[str, str]

    def own_secret(self, name: str) -> str:
        return self.keys[name]


@dataclass(frozen=True)
class Deployment:
    """The database, and the two stores by what they are for: `data` (SABUESO_STORE) and `artifacts` (MLflow's)."""

    database: Database
    stores: Mapping[str, Bucket]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--env", type=Path, metavar="FILE", help="settings (default infra/.env)")
    parser.add_argument("--s3-endpoint", metavar="URL", help="S3 server (default http://127.0.0.1:$MINIO_PORT)")
    parser.add_argument("--database-host", metavar="HOST", help="default 127.0.0.1")
    parser.add_argument("--database-port", metavar="PORT", type=int, help="default $MYSQL_PORT")


def read_deployment(arguments: argparse.Namespace) -> Deployment:
    """Raises WrongSettings with every mistake."""
    values = read_settings_of(arguments.env)
    path = arguments.env or ENV_FILE
    errors = [
        FieldError(name, f"{MISSING} ({path})")
        for name in ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD")
        if name not in values
    ]
    urls = {name: urlsplit(values.get(variable, default)) for name, (variable, default) in STORES.items()}
    for name, url in urls.items():
        if url.scheme != "s3" or not url.netloc:
            errors.append(FieldError(STORES[name][0], f"{url.geturl()}: not s3://bucket; copy a folder by other means"))
    if urls["data"].netloc == urls["artifacts"].netloc:
        errors.append(FieldError("SABUESO_STORE", "in MLflow's bucket; it needs one of its own"))
    database = read_database(values, arguments, errors)
    if errors or database is None:
        raise WrongSettings("The settings", errors)
    endpoint = arguments.s3_endpoint or f"http://127.0.0.1:{values.get('MINIO_PORT', MINIO_PORT)}"
    region = values.get("AWS_DEFAULT_REGION", "")
    settings = read_settings({"AWS_ENDPOINT_URL_S3": endpoint, "AWS_DEFAULT_REGION": region})
    keys = {"s3-access-key": values["MINIO_ROOT_USER"], "s3-secret-key": values["MINIO_ROOT_PASSWORD"]}
    root = RootKey(**vars(settings), keys=keys)
    return Deployment(database, {name: Bucket(url.netloc, url.path.strip("/"), root) for name, url in urls.items()})


def read_database(
    values: Mapping[str, str], arguments: argparse.Namespace, errors: list[FieldError]
) -> Database | None:
    """What MLFLOW_BACKEND_STORE_URI names, else compose's own; None, and an error more, if there is none."""
    uri = values.get("MLFLOW_BACKEND_STORE_URI")
    if uri is None and "MYSQL_PASSWORD" not in values:
        errors.append(FieldError("MYSQL_PASSWORD", MISSING))
        return None
    try:
        parts = urlsplit(uri or f"mysql://mlflow@127.0.0.1:{values.get('MYSQL_PORT', MYSQL_PORT)}/mlflow")
        port = arguments.database_port or parts.port
    except ValueError:
        errors.append(FieldError("MLFLOW_BACKEND_STORE_URI" if uri else "MYSQL_PORT", "its port is no number"))
        return None
    kinds: dict[str, type[Mysql | Postgres]] = {"mysql": Mysql, "postgresql": Postgres, "postgres": Postgres}
    kind = kinds.get(parts.scheme.partition("+")[0])
    if kind is None:
        errors.append(FieldError("MLFLOW_BACKEND_STORE_URI", f"{parts.scheme}: neither mysql nor postgresql"))
        return None
    name = unquote(parts.path.strip("/"))
    if not parts.username or not name or "@" in name or "/" in name:
        # A part of a password may be anywhere in it by now: nothing of it is shown.
        wanted = "not like postgresql://user:password@host:5432/name, with other signs than letters and digits as %XX"
        errors.append(FieldError("MLFLOW_BACKEND_STORE_URI", wanted))
        return None
    address = Address(
        host=arguments.database_host or parts.hostname or "127.0.0.1",
        port=port or (MYSQL_PORT if kind is Mysql else POSTGRES_PORT),
        user=unquote(parts.username),
        password=unquote(parts.password or "") if uri else values["MYSQL_PASSWORD"],
        name=name,
    )
    return kind(address)
