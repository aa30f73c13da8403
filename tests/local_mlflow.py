"""A real MLflow on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ports import free_port
from servers import Server, answers


class LocalMlflow(Server):
    """MLflow as scripts/demo starts it: with SQLite and a folder."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        home.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"]
        command += ["--serve-artifacts", "--artifacts-destination", str(home / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        super().__init__("mlflow", command, {**quiet, "PATH": path}, home)

    def ready(self) -> bool:
        return answers(f"{self.url}/health")
