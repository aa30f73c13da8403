"""The whole system on real servers: MinIO, MariaDB, MLflow with accounts, and the functions of stack.yml as processes.

Each function has the keys and the account that infra/mlflow/make_accounts.py makes for it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from waitress import create_server

from accounts import Accounts
from all_settings import AllSettings as Settings
from all_settings import read_settings
from common.storage.s3 import S3Store
from local import stack
from local.gateway import create_gateway
from ports import free_port
from servers import ROOT, Minio, Mlflow, Mysql, Server, answers

EPOCHS = 4
REFRESH_S, LEASE_S = 0.5, 8


class Function(Server):
    """A function as its image runs it: functions/server.py with the environment of stack.yml."""

    def __init__(self, name: str, port: int, environment: dict[str, str], home: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(name, [sys.executable, str(ROOT / "functions" / "server.py")], environment, home)

    def ready(self) -> bool:
        return answers(f"{self.url}/healthz")


def environment_alone(name: str, home: Path) -> dict[str, str]:
    """The environment of a function without MLflow and without data, in a folder of its own."""
    return {
        "FUNCTION": name,
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "SABUESO_STORE": f"file://{home}/store",
        "SABUESO_SECRETS": str(home / "secrets"),
        "SABUESO_SCRATCH": str(home / "scratch"),
        "SABUESO_TRIGGER": "off",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    }


class Deployed:
    """The system in one folder; `start` starts it in the order of infra/compose.yaml."""

    host = "127.0.0.1"  # where MinIO and MLflow listen for the functions

    def __init__(self, home: Path, like: Deployed | None = None, **overrides: str) -> None:
        """`like`: use the passwords and secrets of that deployment, as a restored one does."""
        self.home, self.overrides = home, overrides
        self.minio, self.mysql = Minio(home, self.host), Mysql(home)
        self.mlflow = Mlflow(home, self.minio, self.mysql.uri, host=self.host)
        self.accounts = Accounts(home / "accounts", self.minio, self.mlflow)
        self.secrets = home / "secrets"
        if like is None:
            self._write_secrets()
        else:
            shutil.copytree(like.secrets, self.secrets)
            self.accounts.passwords, self.accounts.admin = like.accounts.passwords, like.accounts.admin
        (home / "run-secrets" / "mlflow_s3_access_key").write_text("mlflow")
        (home / "run-secrets" / "mlflow_s3_secret_key").write_text(self.accounts.passwords["mlflow"])
        self.functions: dict[str, Function] = {}
        self.gateway = ""

    def _write_secrets(self) -> None:
        passwords = self.accounts.passwords
        texts = {"train-token": secrets.token_hex(8), "bundle-key": secrets.token_hex(8)}
        texts |= {f"{name}-s3-access-key": name for name in ("fetch-batch", "train")}
        texts |= {f"{name}-s3-secret-key": passwords[name] for name in ("fetch-batch", "train")}
        texts |= {f"{name}-mlflow-password": passwords[f"mlflow-{name}"] for name in ("train", "classify")}
        self.secrets.mkdir()
        for name, text in texts.items():
            (self.secrets / name).write_text(text)

    def start(self) -> Deployed:
        self.start_servers()
        done = self.accounts.make()
        assert done.returncode == 0, done.stdout + done.stderr
        self.start_functions()
        return self

    def start_servers(self) -> None:
        for server in (self.minio, self.mysql, self.mlflow):
            if server.process is None:
                server.start()

    def _pipelines(self) -> Path:
        """covertype alone; its gate accepts the short fits of tests."""
        folder = self.home / "pipelines"
        folder.mkdir()
        text = (ROOT / "functions" / "pipelines" / "covertype.toml").read_text()
        (folder / "covertype.toml").write_text(re.sub(r"(?m)^floor = .*$", "floor = 0.01", text))
        return folder

    def stack(self) -> dict[str, stack.Function]:
        """The functions of stack.yml."""
        return {function.name: function for function in stack.read_stack({})}

    def start_functions(self) -> None:
        functions = self.stack()
        ports = {name: free_port() for name in functions}
        gateway = create_server(create_gateway(functions, ports), host="127.0.0.1", port=0, threads=8)
        threading.Thread(target=gateway.run, daemon=True).start()
        pipelines = self._pipelines()
        self.gateway = f"http://127.0.0.1:{gateway.effective_port}"
        for name, function in functions.items():
            shared = {
                "AWS_ENDPOINT_URL_S3": self.minio.url,
                "MLFLOW_TRACKING_URI": self.mlflow.url,
                "OPENFAAS_URL": self.gateway,
                "SABUESO_SCRATCH": str(self.home / "scratch" / name),
                "SABUESO_PIPELINES": str(pipelines),
                "SABUESO_MIN_INTERVAL_S": "0.05",
                "SABUESO_REFRESH_S": str(REFRESH_S),
                "SABUESO_EPOCHS": str(EPOCHS),
                "SABUESO_SAMPLES_PER_BATCH": "1",
                "SABUESO_TRIGGER": "off",
                "SABUESO_LEASE_S": str(LEASE_S),
                "TF_NUM_INTRAOP_THREADS": "2",
            }
            overrides = shared | self.overrides
            environment = stack.local_environment(function, os.environ, ports[name], self.secrets, overrides)
            # Each function sees only the secrets that stack.yml gives it.
            own = self.home / "secrets-of" / name
            own.mkdir(parents=True)
            for secret in function.secrets:
                (own / secret).symlink_to(self.secrets / secret)
            environment["SABUESO_SECRETS"] = str(own)
            self.functions[name] = Function(name, ports[name], environment, self.home)
            self.functions[name].start(wait=False)
        for function in self.functions.values():
            function.wait()

    def stop(self) -> None:
        for server in (*self.functions.values(), self.mlflow, self.mysql, self.minio):
            server.stop()

    def url(self, path: str) -> str:
        return f"{self.gateway}/function/{path}"

    def get(self, path: str) -> Any:
        return requests.get(self.url(path), timeout=60).json()

    def post(self, path: str, body: Any = None) -> requests.Response:
        token = {"Authorization": f"Bearer {(self.secrets / 'train-token').read_text()}"}
        return requests.post(self.url(path), json=body, headers=token, timeout=60)

    def post_fetch(self, pipeline: str = "covertype") -> requests.Response:
        """POST fetch-batch, again while it is too soon: S3 knows the age of an object only in whole seconds."""
        while True:
            answer = self.post(f"fetch-batch/{pipeline}")
            if answer.status_code != 200 or answer.json()["results"][0]["status"] != "too-soon":
                return answer
            time.sleep(0.2)

    def fetch(self, pipeline: str = "covertype") -> dict[str, Any]:
        answer = self.post_fetch(pipeline)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["results"][0])

    def collect(self, pipeline: str = "covertype", seconds: float = 120) -> dict[str, Any]:
        """Fetch until the collection is complete; the status of fetch-batch."""
        until = time.monotonic() + seconds
        while self.fetch(pipeline)["status"] != "complete":
            assert time.monotonic() < until, "the collection never became complete"
            time.sleep(0.1)
        return dict(self.get(f"fetch-batch/{pipeline}"))

    def train(self, force: bool = True) -> str:
        answer = self.post("train/covertype", {"force": force})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def wait_for(self, path: str, holds: Callable[[Any], bool], what: str, seconds: float = 180) -> Any:
        """The first answer of a GET for which `holds` is true; 503 is retried."""
        until, answer = time.monotonic() + seconds, None
        while time.monotonic() < until:
            answer = requests.get(self.url(path), timeout=60)
            if answer.status_code == 200 and holds(answer.json()):
                return answer.json()
            time.sleep(0.05)
        pytest.fail(f"{path}: never {what}; last answer: {answer is not None and answer.text[:2000]}")

    def wait_for_end(self, identity: str) -> Any:
        """The record of a training after its end."""
        return self.wait_for(
            "train/covertype",
            lambda record: record["id"] == identity and record["state"] != "running",
            f"showed the end of {identity}",
        )

    def job_log(self) -> str:
        return (self.home / "scratch" / "train" / "logs" / "train-covertype.log").read_text()

    def settings(self, name: str) -> Settings:
        return read_settings(self.functions[name].environment)

    def store(self) -> S3Store:
        """The object store with the key of train."""
        return S3Store("sabueso", "", self.settings("train"))
