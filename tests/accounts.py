"""MinIO, a database and MLflow with the keys and accounts of infra/mlflow/make_accounts.py."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from servers import ROOT, Minio, Mlflow, Mysql, Postgres, S3Server, Server

KEYS = ("fetch-batch", "train", "mlflow")
FUNCTIONS = ("train", "classify")


class Accounts:
    """Random passwords, as from scripts/make-env, and calls with them."""

    def __init__(self, folder: Path, s3: S3Server, mlflow: Mlflow | None) -> None:
        folder.mkdir()
        self.folder, self.s3, self.mlflow = folder, s3, mlflow
        self.passwords = {name: secrets.token_hex(24) for name in (*KEYS, "mlflow-train", "mlflow-classify")}
        self.root = (s3.access_key, s3.secret_key)
        self.admin = mlflow.admin_password if mlflow else secrets.token_hex(24)

    def make(self, **environment: str) -> subprocess.CompletedProcess[str]:
        texts = {f"{key.replace('-', '_')}_s3_secret_key": self.passwords[key] for key in KEYS}
        texts |= {f"mlflow_{name}_password": self.passwords[f"mlflow-{name}"] for name in FUNCTIONS}
        texts |= {"minio_root_user": self.root[0], "minio_root_password": self.root[1]}
        texts["mlflow_admin_password"] = self.admin
        for name, text in texts.items():
            (self.folder / name).write_text(f"{text}\n")
        given = {
            "PATH": os.environ["PATH"],
            "SECRETS_FOLDER": str(self.folder),
            "AWS_ENDPOINT_URL_S3": self.s3.url,
            "MLFLOW_TRACKING_URI": self.mlflow.url if self.mlflow else "http://127.0.0.1:9",
            **environment,
        }
        command = [sys.executable, str(ROOT / "infra" / "mlflow" / "make_accounts.py")]
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False)

    def client(self, key: str, password: str = "") -> Any:
        return contextlib.closing(self.s3.client(key, password or self.passwords[key]))

    def call(self, who: str, method: str, path: str, **request: Any) -> requests.Response:
        """Call MLflow's REST API; `who`: admin, train, classify, or NAME:PASSWORD."""
        assert self.mlflow is not None
        known = {"admin": self.admin, **{name: self.passwords[f"mlflow-{name}"] for name in FUNCTIONS}}
        name, _, password = who.partition(":")
        address = path if path.startswith("/") else f"/api/2.0/{path}"
        auth = (name, password or known[name]) if name else None
        return requests.request(method, self.mlflow.url + address, auth=auth, timeout=30, **request)

    def get(self, who: str, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The JSON of a call that must succeed."""
        answer = self.call(who, method, path, **request)
        assert answer.ok, f"{who} {method} {path}: {answer.status_code} {answer.text[:300]}"
        return dict(answer.json()) if answer.text.strip() else {}


@contextlib.contextmanager
def running(folder: Path, database: type[Mysql] | type[Postgres]) -> Iterator[Accounts]:
    """MinIO, a database and MLflow, with all accounts created."""
    homes = [folder / name for name in ("minio", "database", "mlflow")]
    for home in homes:
        home.mkdir()
    started: list[Server] = []
    try:
        minio, store = Minio(homes[0]), database(homes[1])
        for server in (minio, store):
            started.append(server)
            server.start()
        mlflow = Mlflow(homes[2], minio, store.uri)
        accounts = Accounts(folder / "accounts", minio, mlflow)
        # As in compose.yaml: MLflow has only its own key, and waits only for its database.
        (homes[2] / "run-secrets" / "mlflow_s3_access_key").unlink()
        (homes[2] / "run-secrets" / "mlflow_s3_secret_key").write_text(accounts.passwords["mlflow"])
        started.append(mlflow)
        mlflow.start()
        made = accounts.make()
        assert made.returncode == 0, made.stderr
        yield accounts
    finally:
        for server in reversed(started):
            server.stop()


def make_version(accounts: Accounts, who: str, model: str) -> dict[str, str]:
    """Create a version with a bundle as train does: experiment, run, logged model, artifact, version, alias."""
    experiment = accounts.get(who, "POST", "mlflow/experiments/create", json={"name": model})["experiment_id"]
    run = accounts.get(who, "POST", "mlflow/runs/create", json={"experiment_id": experiment})["run"]["info"]["run_id"]
    metric = {"run_id": run, "key": "accuracy", "value": 0.9, "timestamp": 1}
    accounts.get(who, "POST", "mlflow/runs/log-metric", json=metric)
    body = {"experiment_id": experiment, "name": "bundle", "source_run_id": run}
    logged = accounts.get(who, "POST", "mlflow/logged-models", json=body)["model"]["info"]["model_id"]
    bundle = f"{experiment}/models/{logged}/artifacts/artifacts/serving"
    accounts.get(who, "PUT", f"mlflow-artifacts/artifacts/{bundle}/contract.json", data=b"a bundle")
    accounts.get(who, "POST", "mlflow/registered-models/create", json={"name": model})
    source = f"mlflow-artifacts:/{experiment}/models/{logged}/artifacts"
    body = {"name": model, "source": source, "run_id": run, "model_id": logged}
    accounts.get(who, "POST", "mlflow/model-versions/create", json=body)
    body = {"name": model, "version": "1"}
    accounts.get(who, "POST", "mlflow/registered-models/alias", json={**body, "alias": "champion"})
    accounts.get(who, "POST", "mlflow/model-versions/set-tag", json={**body, "key": "result", "value": "promoted"})
    return {"experiment": experiment, "run": run, "logged": logged, "bundle": bundle, "model": model}
