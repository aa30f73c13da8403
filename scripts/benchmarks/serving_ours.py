"""Our own server under measurement: classify as stack.yml has it, and the MLflow that it fetches its champions from."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from benchmarks.served import NotServing, Served, a_port
from benchmarks.wire import request_bytes
from local.stack import MACHINE, local_environment, read_stack

START_S = 300.0
TIMEOUT_S = 30
ALIAS = "champion"


class Mlflow:
    """A real MLflow server with the champions registered as train registers them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        port = a_port()
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        command += ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
        machine = {name: os.environ[name] for name in MACHINE if name in os.environ}
        machine["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{machine.get('PATH', '')}"
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        quiet |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.served = Served(command, {**machine, **quiet}, folder, port)
        self.url = self.served.url
        self._session = requests.Session()
        self._session.trust_env = False

    def start(self) -> None:
        """Raises NotServing."""
        health = f"GET /health HTTP/1.1\r\nHost: {self.url.removeprefix('http://')}\r\n\r\n".encode()
        self.served.start(health, lambda body: True, START_S)

    def register(self, name: str, bundle: Path) -> None:
        """A version that is the champion, its bundle among the artifacts of a logged model."""
        model = self._call("logged-models", experiment_id="0", name="model")["model"]["info"]
        root = f"{model['artifact_uri'].removeprefix('mlflow-artifacts:/').strip('/')}/artifacts/serving"
        for file in sorted(bundle.iterdir()):
            put = f"{self.url}/api/2.0/mlflow-artifacts/artifacts/{root}/{file.name}"
            self._session.put(put, data=file.read_bytes(), timeout=TIMEOUT_S).raise_for_status()
        self._call("registered-models/create", name=name)
        source = {"source": model["artifact_uri"], "model_id": model["model_id"]}
        version = self._call("model-versions/create", name=name, **source)["model_version"]["version"]
        self._call("registered-models/alias", name=name, alias=ALIAS, version=version)

    def stop(self) -> None:
        self._session.close()
        self.served.stop()

    def _call(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self._session.post(f"{self.url}/api/2.0/mlflow/{path}", json=body, timeout=TIMEOUT_S)
        if not answer.ok:
            raise NotServing(f"MLflow: {path} answered {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())


def classify(work: Path, functions: Path, pipelines: Path, mlflow: str, key: str, scratch: str = "scratch") -> Served:
    """The function, not started yet; `pipelines` has the files of those that it serves."""
    secrets, port = work / "secrets", a_port()
    secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    (secrets / "bundle-key").write_text(key, encoding="utf-8")
    function = next(one for one in read_stack({}) if one.name == "classify")
    places = {"SABUESO_SCRATCH": str(work / scratch), "SABUESO_PIPELINES": str(pipelines)}
    places |= {"MLFLOW_TRACKING_URI": mlflow, "MLFLOW_TRACKING_USERNAME": "", "FUNCTION": "classify"}
    machine = {name: value for name, value in os.environ.items() if name in MACHINE or name in settings_of_ours()}
    environment = local_environment(function, machine, port, secrets, places)
    return Served([sys.executable, str(functions / "server.py")], environment, work / f"ours-{scratch}", port)


def settings_of_ours() -> list[str]:
    """Settings that may be tried: SABUESO_* of the caller, except places."""
    places = ("SABUESO_STORE", "SABUESO_SECRETS", "SABUESO_SCRATCH", "SABUESO_PIPELINES", "SABUESO_SHARED_DATA")
    return [name for name in os.environ if name.startswith("SABUESO_") and name not in places]


def copy_pipelines(source: Path, names: Mapping[str, str], target: Path) -> Path:
    """The files of these pipelines, by their new names, in a folder of their own."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for new, old in names.items():
        text = (source / f"{old}.toml").read_text(encoding="utf-8")
        if f'name = "{old}"' not in text:
            raise NotServing(f"{source / old}.toml does not begin as a pipeline file does")
        renamed = text.replace(f'name = "{old}"', f'name = "{new}"', 1)
        (target / f"{new}.toml").write_text(renamed, encoding="utf-8")
    return target


def ask(url: str, pipeline: str, body: bytes, kind: str, query: str = "") -> bytes:
    """A call as people make it: the picture or the JSON of a row."""
    return request_bytes(url, f"/{pipeline}{query}", body, kind, "application/json")


def labelled(label: str) -> Callable[[bytes | str], bool]:
    """Tells a right answer: its first prediction has that label."""

    def right(body: bytes | str) -> bool:
        try:
            return told(body)[0] == label
        except ValueError:
            return False

    return right


def told(body: bytes | str, labels: Sequence[str] = ()) -> tuple[str, list[float]]:
    """Label and probabilities of an answer of classify. Raises ValueError where it is none."""
    try:
        first = json.loads(body)["predictions"][0]
        return str(first["label"]), [float(first["probabilities"][label]) for label in labels]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"no answer of classify: {error}") from None
