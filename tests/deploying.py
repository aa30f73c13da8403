"""A gateway with the three functions and a recording faas-cli, for scripts/deploy and scripts/smoke."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from flask import Flask, Response
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from all_settings import AllSettings as Settings
from common.storage.folder import FolderStore
from conftest import Served
from deployment.secret_values import VARIABLES
from fetch_batch.app import create_app as create_fetch_batch
from servers import ROOT
from train.app import create_app as create_train

PASSWORDS = {variable: f"a-password-for-{name}" for name, (variable, default) in VARIABLES.items() if default is None}
PLACES = (str(ROOT / "scripts"), str(ROOT / "functions"))


class Site:
    """A gateway with the three functions, a faas-cli, and the commands."""

    def __init__(self, folder: Path, gateway: Served, settings: Settings, asked: list[str]) -> None:
        self.folder, self.gateway, self.settings, self.asked = folder, gateway, settings, asked
        self.bin, self.env = folder / "bin", folder / "env"
        self.env.touch()
        self.bin.mkdir()
        self.program("faas-cli", f'exec "{sys.executable}" "{ROOT}/tests/fake_faas_cli.py" "$@"')
        self.state(secrets=[])

    def program(self, name: str, line: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{line}\n")
        (self.bin / name).chmod(0o755)

    def state(self, **facts: Any) -> None:
        usual = {"secrets": sorted(VARIABLES), "functions": {}, "deployments": {}, "broken": [], "refused": []}
        self.folder.joinpath("state.json").write_text(json.dumps({**usual, "stuck": False, "slow": False, **facts}))

    def asked_for_status(self) -> int:
        """How often the status of covertype was requested from fetch-batch."""
        return sum(path == "/function/fetch-batch/covertype" for path in self.asked)

    def calls(self) -> list[dict[str, Any]]:
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def words(self) -> list[str]:
        return [" ".join(call["words"]) for call in self.calls()]

    def run(self, module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        machine = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join(PLACES),
            "FAKE_FAAS_CLI": str(self.folder),
            "OPENFAAS_URL": self.gateway.url,
            "TAG": "v2",
            "REGISTRY": "127.0.0.1:9/sabueso",
        }
        # Not this machine's infra/.env.
        own = ["--env", str(self.env)] if module == "deploy" else []
        command = [sys.executable, "-m", f"deployment.{module}", *own, *arguments]
        return subprocess.run(
            command, env={**machine, **environment}, capture_output=True, text=True, check=False, cwd=self.folder
        )

    def deploy(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = self.run("deploy", *arguments, **{**PASSWORDS, **environment})
        for password in PASSWORDS.values():
            assert password not in done.stdout + done.stderr + " ".join(self.words())
        return done


def make_gateway(classify: Flask, settings: Settings, store: FolderStore, deployed: Path | None = None) -> Flask:
    """The functions behind a gateway whose own calls need a password.

    `deployed`: the folder of the recording faas-cli; /readyz returns its last deployment.
    """
    gateway = Flask("gateway", static_folder=None)

    @gateway.get("/system/functions")
    def listed() -> Response:
        return Response("unauthorized", 401)

    apps = {
        "/function/classify": classify,
        "/function/fetch-batch": create_fetch_batch(settings, store),
        "/function/train": create_train(settings, store),
    }
    functions = DispatcherMiddleware(gateway.wsgi_app, apps)

    gateway.extensions["asked"] = asked = []

    def dispatch(environ: Any, start_response: Any) -> Any:
        asked.append(environ["PATH_INFO"])
        if deployed is None or not environ["PATH_INFO"].endswith("/readyz"):
            return functions(environ, start_response)
        name = environ["PATH_INFO"].split("/")[2]
        known = json.loads((deployed / "state.json").read_text())["deployments"]
        ready = f"/function/{name}" in apps and name in known
        return Response(json.dumps({"deployment": known.get(name)}), 200 if ready else 404)(environ, start_response)

    gateway.wsgi_app = dispatch  # type: ignore[method-assign]
    return gateway
