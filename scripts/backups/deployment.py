"""Database and buckets of a deployment as this machine reaches them: from infra/.env, overridden by the environment."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import Field

from backups.buckets import Bucket
from backups.database import Address, Database, Mysql, Postgres
from common.errors import FieldError, WrongSettings
from common.settings import StoreSettings
from deployment.env_file import ENV_FILE, read_deployment_variables

MISSING = "missing in the file and in the environment"
# Purpose -> variable, and the default in compose.
STORES = {"data": ("SABUESO_STORE", "s3://sabueso"), "artifacts": ("MLFLOW_BUCKET_URL", "s3://mlflow")}
MYSQL_PORT, POSTGRES_PORT, MINIO_PORT = 3306, 5432, 9000


class RootKeySettings(StoreSettings):
    """Settings of a store with its root key. `keys` come from infra/.env, so that no secret file is written."""

    keys: Mapping[str, str] = Field(repr=False)

    def own_secret(self, name: str) -> str:
        return self.keys[name]


@dataclass(frozen=True)
class Deployment:
    """MLflow's database, and two stores by purpose: `data` (SABUESO_STORE) and `artifacts` (MLflow's)."""

    database: Database
    stores: Mapping[str, Bucket]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--env", type=Path, metavar="FILE", help="settings (default infra/.env)")
    parser.add_argument("--s3-endpoint", metavar="URL", help="S3 server (default http://127.0.0.1:$MINIO_PORT)")
    parser.add_argument("--database-host", metavar="HOST", help="default 127.0.0.1")
    parser.add_argument("--database-port", metavar="PORT", type=int, help="default $MYSQL_PORT")


def read_deployment(arguments: argparse.Namespace) -> Deployment:
    """Raises WrongSettings with every mistake."""
    values = read_deployment_variables(arguments.env)
    path = arguments.env or ENV_FILE
    errors = [
        FieldError(name, f"{MISSING} ({path})")
        for name in ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD")
        if name not in values
    ]
    urls = {name: urlsplit(values.get(variable, default)) for name, (variable, default) in STORES.items()}
    for name, url in urls.items():
        if url.scheme != "s3" or not url.netloc:
            errors.append(
                FieldError(STORES[name][0], f"{url.geturl()}: not s3://bucket; copy a folder with other tools")
            )
    if urls["data"].netloc == urls["artifacts"].netloc:
        errors.append(FieldError("SABUESO_STORE", "the same bucket as MLflow's; use a different one"))
    database = read_database(values, arguments, errors)
    if errors or database is None:
        raise WrongSettings("The settings", errors)
    endpoint = arguments.s3_endpoint or f"http://127.0.0.1:{values.get('MINIO_PORT', MINIO_PORT)}"
    region = values.get("AWS_DEFAULT_REGION", "")
    keys = {"s3-access-key": values["MINIO_ROOT_USER"], "s3-secret-key": values["MINIO_ROOT_PASSWORD"]}
    store = StoreSettings.read({"AWS_ENDPOINT_URL_S3": endpoint, "AWS_DEFAULT_REGION": region})
    settings = RootKeySettings(**dict(store), keys=keys)
    return Deployment(database, {name: Bucket(url.netloc, url.path.strip("/"), settings) for name, url in urls.items()})


def read_database(
    values: Mapping[str, str], arguments: argparse.Namespace, errors: list[FieldError]
) -> Database | None:
    """The database of MLFLOW_BACKEND_STORE_URI, else compose's MySQL; None if it can't be determined, with an error."""
    uri = values.get("MLFLOW_BACKEND_STORE_URI")
    if uri is None and "MYSQL_PASSWORD" not in values:
        errors.append(FieldError("MYSQL_PASSWORD", MISSING))
        return None
    try:
        parts = urlsplit(uri or f"mysql://mlflow@127.0.0.1:{values.get('MYSQL_PORT', MYSQL_PORT)}/mlflow")
        port = arguments.database_port or parts.port
    except ValueError:
        errors.append(FieldError("MLFLOW_BACKEND_STORE_URI" if uri else "MYSQL_PORT", "its port is not a number"))
        return None
    kinds: dict[str, type[Mysql | Postgres]] = {"mysql": Mysql, "postgresql": Postgres, "postgres": Postgres}
    kind = kinds.get(parts.scheme.partition("+")[0])
    if kind is None:
        errors.append(FieldError("MLFLOW_BACKEND_STORE_URI", f"{parts.scheme}: neither mysql nor postgresql"))
        return None
    name = unquote(parts.path.strip("/"))
    if not parts.username or not name or "@" in name or "/" in name:
        # With a badly escaped password, a part of it may be anywhere in the URI: show none of it.
        wanted = "not like postgresql://user:password@host:5432/name; write special characters as %XX"
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
