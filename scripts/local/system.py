"""The whole system on one machine: MLflow, the three functions, gateway, cron and site; all state in one folder."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import requests
from waitress import create_server

from local.cron import start_cron
from local.gateway import create_gateway
from local.processes import Processes
from local.stack import MACHINE, ROOT, local_environment, read_stack

SECRETS = ("train-token", "bundle-key")
START_S = 120.0
PLACES = ("SABUESO_STORE", "MLFLOW_TRACKING_URI", "SABUESO_PIPELINES")


class StartFailed(Exception):
    """Why the system can't start, and what to do about it."""


def free_port(first: int) -> int:
    """The first free port from `first` on; any free port for 0."""
    for port in range(first, min(first + 200, 65535)) if first else (0,):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    raise StartFailed(f"no free port from {first} on; choose another --port")


def is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def write_settings(home: Path, settings: Mapping[str, str]) -> None:
    """Write settings.env to the home folder: scripts/lineage and scripts/export find the data with it."""
    text = "".join(f"{name}={settings[name]}\n" for name in PLACES if name in settings)
    (home / "settings.env").write_text(text, encoding="utf-8")


class System:
    """`gateway` and `mlflow` are the addresses of a started system."""

    def __init__(self, home: Path, port: int, environment: Mapping[str, str]) -> None:
        self.home, self.port, self.environment = home, port, dict(environment)
        self.processes = Processes(home / "logs")
        self.gateway = f"http://127.0.0.1:{port}"
        self.mlflow = ""
        self._stop = threading.Event()
        self._lock: IO[str] | None = None

    def claim(self) -> None:
        """Lock the home folder. Raises StartFailed if another system runs in it."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._lock = (self.home / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartFailed(f"another system is running in {self.home}; stop it, or use another --home") from None
        if not is_free(self.port):
            raise StartFailed(f"port {self.port} is in use; choose another --port")
        for name in SECRETS:
            path = self.home / "secrets" / name
            if not path.exists():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                path.touch(mode=0o600)
                path.write_text(secrets.token_urlsafe(32))

    def token(self) -> str:
        return (self.home / "secrets" / "train-token").read_text().strip()

    def start(self, overrides: Mapping[str, str]) -> None:
        """Start everything with these settings of all functions. Does not wait until everything is ready."""
        self._start_mlflow()
        stack = {function.name: function for function in read_stack(self.environment)}
        ports = {name: free_port(0) for name in stack}
        self._overrides = {
            "SABUESO_STORE": f"file://{self.home / 'store'}",
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_TRACKING_USERNAME": "",
            "SABUESO_MLFLOW_PUBLIC_URL": self.mlflow,
            "OPENFAAS_URL": self.gateway,
        }
        self._functions, self._ports = stack, ports
        write_settings(self.home, {**self.environment, **self._overrides})
        for name in stack:
            command = [sys.executable, str(ROOT / "functions" / "server.py")]
            self.processes.start(name, command, self._environment(name, overrides), ROOT / "functions")
        server = create_server(create_gateway(stack, ports), host="127.0.0.1", port=self.port, threads=16)
        threading.Thread(target=server.run, name="gateway", daemon=True).start()
        start_cron(list(stack.values()), self.gateway, self._stop)

    def change(self, name: str, overrides: Mapping[str, str]) -> None:
        """Restart a function with other settings."""
        self.processes.restart(name, self._environment(name, overrides))

    def _environment(self, name: str, overrides: Mapping[str, str]) -> dict[str, str]:
        """The environment of a function, which sees only the secrets that stack.yml gives it."""
        function = self._functions[name]
        folder = self.home / "secrets" / "functions" / name
        folder.mkdir(parents=True, exist_ok=True)
        for secret in function.secrets:
            source, target = self.home / "secrets" / secret, folder / secret
            if source.exists() and not target.exists():
                target.symlink_to(source)
        own = {"SABUESO_SCRATCH": str(self.home / "scratch" / name)}
        places = {**self._overrides, **own, **overrides}
        if "SABUESO_STORE" not in function.environment:
            del places["SABUESO_STORE"]
        return local_environment(function, self.environment, self._ports[name], folder, places)

    def _start_mlflow(self) -> None:
        folder = self.home / "mlflow"
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port(self.port + 1)
        self.mlflow = f"http://127.0.0.1:{port}"
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        command += ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
        machine = {key: self.environment[key] for key in MACHINE if key in self.environment}
        machine |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{machine.get('PATH', '')}"}
        machine |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        machine |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # three processes for language-model evaluations
        self.processes.start("mlflow", command, machine, folder)

    def wait_for(self, url: str, what: str, seconds: float = START_S) -> None:
        """Wait until the URL answers 200. Raises StartFailed with the end of the log."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.processes.broken is None:
            try:
                if requests.get(url, timeout=5).status_code == 200:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.2)
        reason = self.processes.broken or f"{what} did not answer at {url} within {seconds:.0f} s"
        raise StartFailed(f"{reason}\n{self.processes.log_end(what)}")

    def stop(self) -> None:
        self._stop.set()
        self.processes.stop()
        if self._lock is not None:
            self._lock.close()
