"""The peers: servers of other projects with the same network, each in its own environment in .bench/.

Their indirect dependencies are not pinned: they are the newest that fit, as in a user's own installation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.calls import Case, mlflow, raw, v2
from benchmarks.quality_data import ROOT
from benchmarks.server import Candidate, Server, free_port
from benchmarks.wrk import MeasurementFailed
from local.stack import MACHINE

SERVERS = Path(__file__).resolve().parent / "serving_peers"
QUIET = {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true"}
TENSORFLOW = ("tensorflow-cpu==2.21.0", "keras==3.15.1")
ONNX = "onnxruntime==1.32.0"
SHARED = ("numpy==2.4.6", "pillow==13.0.0", "pydantic==2.14.3")
PACKAGES = {
    "mlflow": ("mlflow==3.17.2", *TENSORFLOW, *SHARED),
    "flask": ("flask==3.1.3", "waitress==3.0.2", *TENSORFLOW, *SHARED),
    "bentoml": ("bentoml==1.4.40", ONNX, *SHARED),
    "mlserver": ("mlserver==1.7.1", "uvloop==0.21.0", ONNX, *SHARED),  # its workers don't start with a newer uvloop
    "tf2onnx": ("tf2onnx==1.17.0", "onnx==1.23.2", TENSORFLOW[0], SHARED[0]),
}
# Configurations that were the best in some run. All are tried, and the best of this run is measured.
CONFIGURATIONS: Mapping[str, Mapping[str, dict[str, int]]] = {
    "mlflow": {"as it comes": {}},
    "flask": {
        "tf.function, waitress, 1 process": {"workers": 1, "threads": 4},
        "tf.function, waitress, 2 processes": {"workers": 2, "threads": 4},
        "tf.function, waitress, 2 processes of 2 threads": {"workers": 2, "threads": 2},
    },
    "bentoml": {"ONNX Runtime, 1 worker": {"workers": 1}, "ONNX Runtime, 2 workers": {"workers": 2}},
    "mlserver": {"ONNX Runtime, no worker": {"workers": 0}, "ONNX Runtime, 2 workers, V2": {"workers": 2}},
}


def peer_candidates(name: str, case: Case, champion: Path, folder: Path) -> list[Candidate]:
    """One per configuration; `champion` has the network as a SavedModel. Raises MeasurementFailed."""
    programs = install(name)
    if ONNX in PACKAGES[name]:
        _export_onnx(champion)
    folder.mkdir(parents=True)
    network = {"contract": str(champion / "serving" / "contract.json"), "shape": case.encoded.shape[1:]}
    network |= {"saved": str(champion / "saved"), "onnx": str(champion / "network.onnx")}
    candidates = []
    for configuration, options in CONFIGURATIONS[name].items():
        form = mlflow if name == "mlflow" else v2 if name == "mlserver" and options["workers"] else raw
        server = partial(_server, name, network | options, programs, folder)
        candidates.append(Candidate(name, configuration, form(case), server))
    return candidates


def install(name: str) -> Path:
    """Install the peer; returns the folder of its programs. Raises MeasurementFailed."""
    folder, uv = ROOT / ".bench" / name, str(ROOT / ".tools" / "bin" / "uv")
    if not folder.exists():
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    _run([uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *PACKAGES[name]])
    return folder / "bin"


def _server(name: str, spec: dict[str, Any], programs: Path, folder: Path) -> Server:
    port = free_port()
    environment = _environment(programs) | {
        "PYTHONPATH": os.pathsep.join([str(SERVERS), str(ROOT / "functions")]),
        "BENCH_SPEC": json.dumps({**spec, "port": port}),
    }
    python, address = str(programs / "python"), ["--host", "127.0.0.1", "--port", str(port)]
    if name == "flask":
        command = [python, str(SERVERS / "flask_server.py")]
    elif name == "bentoml":
        command = [python, "-m", "bentoml", "serve", "bento_server:Peer", "--working-dir", str(SERVERS), *address]
    elif name == "mlserver":
        settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_endpoint": None}
        settings |= {"parallel_workers": spec["workers"], "debug": False}
        model = {"name": "peer", "implementation": "mlserver_runtime.Peer"}
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
        command = [str(programs / "mlserver"), "start", str(folder)]
    else:
        logged = folder / "model"
        if not logged.exists():
            _run([python, str(SERVERS / "mlflow_model.py"), str(logged)], environment)
        command = [str(programs / "mlflow"), "models", "serve", "-m", str(logged), "--env-manager", "local", *address]
    return Server(command, environment, folder, port)


def _export_onnx(champion: Path) -> None:
    """Convert the SavedModel to network.onnx, unless that exists."""
    target = champion / "network.onnx"
    if not target.exists():
        programs = install("tf2onnx")
        command = [str(programs / "python"), "-m", "tf2onnx.convert", "--saved-model", str(champion / "saved")]
        _run([*command, "--opset", "17", "--output", str(target)], _environment(programs))


def _environment(programs: Path) -> dict[str, str]:
    """The machine's variables, without any of ours."""
    machine = {name: os.environ[name] for name in MACHINE if name in os.environ}
    path = f"{programs}{os.pathsep}{machine.get('PATH', '')}"
    return {**machine, **QUIET, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 (words, no shell)
    if done.returncode:
        raise MeasurementFailed(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-800:]}")
