"""The same system on two gateways: the local one, and a real OpenFaaS at OPENFAAS_URL.

MinIO, MariaDB, MLflow and the sources run on this machine in both cases. For a real gateway they listen on an address
that its functions can reach: SABUESO_E2E_ADDRESS, or that of faasd's bridge. The images REGISTRY/NAME:TAG must be built
and pushed before (by scripts/deploy), and faas-cli must be logged in (or OPENFAAS_PASSWORD set).
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from flask import Flask, Response, request

from all_settings import AllSettings as Settings
from all_settings import read_settings
from asking import Source
from conftest import Served
from deployed import Deployed
from local import stack
from local.cron import start_cron
from local.drawings import draw_pets
from servers import ROOT

# The rows stay below the 1,000 examples of covertype's trigger until the tenth batch: one training, not two.
ROWS, PICTURES = 9_000, 400
# The cron-connector knows minutes, the local gateway also seconds.
EVERY_MINUTE, EVERY_FEW_SECONDS = "* * * * *", "* * * * * */5"
EPOCHS = "covertype=3,pets=4"
# For gates with the floors of the shipped pipelines.
MORE_EPOCHS = "covertype=20,pets=40"
MIN_INTERVAL_S = 2
FAASD_BRIDGE = "openfaas0"
# What scripts/deploy needs of this machine's environment; no setting of another system may reach the functions.
MACHINE = ("PATH", "HOME", "LANG", "REGISTRY", "TAG", "OPENFAAS_CONFIG", "OPENFAAS_PASSWORD", "OPENFAAS_USERNAME")
SETTINGS = {
    "SABUESO_MIN_INTERVAL_S": str(MIN_INTERVAL_S),
    "SABUESO_SAMPLES_PER_BATCH": "1",
    "SABUESO_TRIGGER": "on",
    "SABUESO_REFRESH_S": "1",
    "SABUESO_LEASE_S": "12",
}


def why_no_openfaas() -> str:
    """Why the tests of a real gateway can't run here; empty if they can."""
    if not os.environ.get("OPENFAAS_URL"):
        return "OPENFAAS_URL is not set"
    return "" if shutil.which("faas-cli") else "there is no faas-cli on PATH"


def sources(host: str) -> tuple[Source, Served]:
    """The data API with drawn pets as one archive at /pets.zip."""
    source = Source(ROWS)
    archive = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive, "w") as pets:
        draw_pets(Path(folder) / "pets", PICTURES, seed=7)
        for path in sorted(Path(folder).rglob("*.jpg")):
            pets.write(path, path.relative_to(Path(folder) / "pets"))

    @source.app.get("/pets.zip")
    def pictures() -> Response:
        return Response(archive.getvalue(), mimetype="application/zip")

    served = Served(source.app, host)
    source.url = served.url
    return source, served


class GatewayDeployment(Deployed):
    """What the tests do with both gateways."""

    source: Source

    def token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.secrets / 'train-token').read_text()}"}

    def async_url(self, path: str) -> str:
        return f"{self.gateway}/async-function/{path}"

    def redeploy(self, name: str, memory_mb: int | None = None, **environment: str) -> None:
        """Deploy a function again, with other settings or another memory limit."""
        raise NotImplementedError

    def set_secret(self, name: str, text: str) -> None:
        (self.secrets / name).write_text(text)

    def list_functions(self) -> list[dict[str, Any]]:
        """The functions as the gateway lists them."""
        raise NotImplementedError


class LocalGateway(GatewayDeployment):
    """The gateway of scripts/demo with its cron, and the functions as processes."""

    def __init__(self, home: Path) -> None:
        self.source, self._served = sources(self.host)
        addresses = {"COVERTYPE_API_URL": self.source.url, "PETS_SOURCE": f"{self.source.url}/pets.zip"}
        super().__init__(home, **addresses, **SETTINGS, SABUESO_EPOCHS=EPOCHS)
        self._stop = threading.Event()

    def _pipelines(self) -> Path:
        """Both pipelines, with a gate that any first version passes: a busy machine may train a worse one."""
        folder = self.home / "pipelines"
        folder.mkdir()
        for file in (ROOT / "functions" / "pipelines").glob("*.toml"):
            (folder / file.name).write_text(re.sub(r"(?m)^floor = .*$", "floor = 0.01", file.read_text()))
        return folder

    def stack(self) -> dict[str, stack.Function]:
        functions = super().stack()
        annotations = functions["fetch-batch"].annotations | {"schedule": EVERY_FEW_SECONDS}
        return functions | {"fetch-batch": dataclasses.replace(functions["fetch-batch"], annotations=annotations)}

    def start_functions(self) -> None:
        super().start_functions()
        start_cron(list(self.stack().values()), self.gateway, self._stop)

    def redeploy(self, name: str, memory_mb: int | None = None, **environment: str) -> None:
        function = self.functions[name]
        function.stop()
        limit = {"SABUESO_TRAIN_MEMORY_MB": "" if memory_mb is None else str(memory_mb)}
        function.environment = {**function.environment, **limit, **environment}
        function.start()

    def list_functions(self) -> list[dict[str, Any]]:
        return list(requests.get(f"{self.gateway}/system/functions", timeout=30).json())

    def stop(self) -> None:
        self._stop.set()
        super().stop()
        self._served.stop()


class Openfaas(GatewayDeployment):
    """A real gateway, used only through scripts/deploy and faas-cli."""

    def __init__(self, home: Path) -> None:
        self.host = address_for_functions()
        self.source, self._served = sources(self.host)
        super().__init__(home)
        self.gateway = os.environ["OPENFAAS_URL"].rstrip("/")
        self._forward = Served(forwarder(self.gateway), self.host)
        self._env = home / "deployment.env"
        self._deployed = False

    def _settings(self) -> dict[str, str]:
        text = {path.name: path.read_text() for path in self.secrets.iterdir()}
        return {
            "OPENFAAS_URL": self.gateway,
            "FUNCTION_GATEWAY_URL": os.environ.get("FUNCTION_GATEWAY_URL") or self._forward.url,
            "AWS_ENDPOINT_URL_S3": self.minio.url,
            "MLFLOW_TRACKING_URI": self.mlflow.url,
            "COVERTYPE_API_URL": self.source.url,
            "PETS_SOURCE": f"{self.source.url}/pets.zip",
            "TRAIN_TOKEN": text["train-token"],
            "BUNDLE_KEY": text["bundle-key"],
            "FETCH_BATCH_S3_SECRET_KEY": text["fetch-batch-s3-secret-key"],
            "TRAIN_S3_SECRET_KEY": text["train-s3-secret-key"],
            "MLFLOW_TRAIN_PASSWORD": text["train-mlflow-password"],
            "MLFLOW_CLASSIFY_PASSWORD": text["classify-mlflow-password"],
        }

    def start_functions(self) -> None:
        """Deploy all three; fails if a system with data is already deployed there."""
        for pipeline in ("covertype", "pets"):
            with contextlib.suppress(requests.RequestException, ValueError, KeyError, TypeError):
                samples = requests.get(self.url(f"fetch-batch/{pipeline}"), timeout=30).json()["samples"]
                if samples:
                    pytest.fail(
                        f"{self.gateway} has a system with {samples} samples of {pipeline}: these tests "
                        "would replace and remove its functions and secrets. Use another gateway."
                    )
        self._deployed = True
        self._deploy()

    def redeploy(self, name: str, memory_mb: int | None = None, **environment: str) -> None:
        self._deploy(name, memory_mb, **environment)

    def _deploy(self, name: str = "", memory_mb: int | None = None, **environment: str) -> None:
        """Run scripts/deploy on a stack.yml with the settings of these tests."""
        stack_file = yaml.safe_load((ROOT / "stack.yml").read_text())
        stack_file["functions"]["fetch-batch"]["annotations"]["schedule"] = EVERY_MINUTE
        for function in stack_file["functions"].values():
            function["environment"] |= {**SETTINGS, "SABUESO_EPOCHS": MORE_EPOCHS}
        if name:
            stack_file["functions"][name]["environment"] |= environment
        if memory_mb is not None:
            stack_file["functions"][name]["limits"]["memory"] = f"{memory_mb}Mi"
            stack_file["functions"][name]["requests"]["memory"] = f"{memory_mb}Mi"
        file = self.home / "stack.yml"
        file.write_text(yaml.safe_dump(stack_file))
        self._env.touch(0o600)
        self._env.write_text("".join(f"{key}={value}\n" for key, value in self._settings().items()))
        command = [sys.executable, "-m", "deployment.deploy", "--no-build", "--env", str(self._env), "-f", str(file)]
        command += ["--keep-secrets", name] if name else []
        machine = {key: os.environ[key] for key in MACHINE if key in os.environ}
        machine["PYTHONPATH"] = os.pathsep.join([str(ROOT / "scripts"), str(ROOT / "functions")])
        done = subprocess.run(command, env=machine, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        for secret in self._settings().values():
            assert len(secret) < 16 or secret.startswith("http") or secret not in done.stdout + done.stderr

    def settings(self, name: str) -> Settings:
        store = {"SABUESO_STORE": "s3://sabueso", "AWS_ENDPOINT_URL_S3": self.minio.url}
        return read_settings({"FUNCTION": name, "SABUESO_SECRETS": str(self.secrets), **store})

    def set_secret(self, name: str, text: str) -> None:
        super().set_secret(name, text)
        self._faas_cli("secret", "create", "--replace", name, stdin=text)

    def list_functions(self) -> list[dict[str, Any]]:
        return list(json.loads(self._faas_cli("list", "--json")))

    def _faas_cli(self, *arguments: str, stdin: str | None = None) -> str:
        environment = {**os.environ, "OPENFAAS_URL": self.gateway}
        done = subprocess.run(
            ["faas-cli", *arguments], input=stdin, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        if self._deployed and (self.home / "stack.yml").exists():
            self._faas_cli("remove", "-f", str(self.home / "stack.yml"))
        super().stop()
        self._forward.stop()
        self._served.stop()


def address_for_functions() -> str:
    """This machine's address as containers of functions reach it."""
    configured = os.environ.get("SABUESO_E2E_ADDRESS")
    if configured:
        return configured
    for address in psutil.net_if_addrs().get(FAASD_BRIDGE, []):
        if address.family == socket.AF_INET:
            return address.address
    raise AssertionError(
        f"there is no interface {FAASD_BRIDGE}: set SABUESO_E2E_ADDRESS to this machine's address for functions"
    )


def forwarder(gateway: str) -> Flask:
    """Forwards calls of the functions to a gateway that may listen only on loopback."""
    app = Flask("forwarder")

    @app.route("/<path:path>", methods=["GET", "POST"])
    def forward(path: str) -> Response:
        kept = {key: value for key, value in request.headers.items() if key in ("Authorization", "Content-Type")}
        answer = requests.request(
            request.method, f"{gateway}/{path}", data=request.get_data(), headers=kept, timeout=60
        )
        return Response(answer.content, answer.status_code, content_type=answer.headers.get("Content-Type"))

    return app
