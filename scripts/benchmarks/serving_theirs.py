"""The peers' servers under measurement: what each is given, how it is started, asked and understood."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_environments import NotInstalled, environment
from benchmarks.peer_list import Configuration, Peer
from benchmarks.probes import Probe
from benchmarks.served import NotServing, Served, a_port
from benchmarks.wire import request_bytes
from common.pictures import decode_picture, picture_view, seen_region

SERVERS = Path(__file__).resolve().parent / "serving_peers"
START_S = 180.0
PREPARE_S = 900
QUIET = {
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def export_onnx(programs: Path, saved: Path, target: Path) -> None:
    """network.onnx out of the SavedModel, unless it is there and newer. Raises NotInstalled."""
    if target.exists() and target.stat().st_mtime > (saved / "saved_model.pb").stat().st_mtime:
        return
    command = ["-m", "tf2onnx.convert", "--saved-model", str(saved), "--opset", "17", "--output", str(target)]
    _run([str(programs / "python"), *command], environment(programs) | QUIET)


def write_spec(probe: Probe, champion: Path, folder: Path) -> Path:
    """What a peer's server must know of the network: its files, labels and input."""
    folder.mkdir(parents=True, exist_ok=True)
    image = probe.kind == "image"
    spec: dict[str, Any] = {"kind": probe.kind, "labels": probe.labels}
    if image:
        size, centre, least = picture_view(probe.contract["features"])
        spec |= {"image_size": size, "least_side": least, "region": seen_region(centre)}
    else:
        spec["width"] = probe.encoded.shape[1]
    spec |= {"saved": str(champion / "saved"), "onnx": str(champion / "network.onnx")}
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder / "spec.json"


class Theirs:
    """One peer in one configuration for one kind."""

    def __init__(self, peer: Peer, how: Configuration, probe: Probe, programs: Path, folder: Path) -> None:
        self.peer, self.how, self.probe, self.programs, self.folder = peer, how, probe, programs, folder

    def prepare(self, spec: Path) -> Served:
        """The server, not started yet. Raises NotInstalled where MLflow can't log the model."""
        self.folder.mkdir(parents=True, exist_ok=True)
        port = a_port()
        options = {"BENCH_SPEC": str(spec), "BENCH_PORT": str(port), "BENCH_NETWORK": self.peer.network}
        options |= {"BENCH_OPTIONS": json.dumps(self.how.options), "PYTHONPATH": str(SERVERS)}
        known = environment(self.programs) | QUIET | options | {"BENTOML_HOME": str(self.folder / "bentoml")}
        command = self._command(port)
        if self.peer.server == "mlflow" and not (self.folder / "model").exists():
            _run([str(self.programs / "python"), str(SERVERS / "mlflow_model.py"), str(self.folder / "model")], known)
        return Served(command, known, self.folder, port)

    def _command(self, port: int) -> list[str]:
        where, python = ["--host", "127.0.0.1", "--port", str(port)], str(self.programs / "python")
        if self.peer.server == "mlflow":
            model = str(self.folder / "model")
            return [str(self.programs / "mlflow"), "models", "serve", "-m", model, "--env-manager", "local", *where]
        if self.peer.server == "bento":
            return [python, "-m", "bentoml", "serve", "bento_server:Peer", "--working-dir", str(SERVERS), *where]
        if self.peer.server == "mlserver":
            self._write_mlserver(port)
            return [str(self.programs / "mlserver"), "start", str(self.folder)]
        return [python, str(SERVERS / f"{self.peer.server}_server.py")]

    def _write_mlserver(self, port: int) -> None:
        """Its settings are files; three ports, for each server has them."""
        settings: dict[str, Any] = {"host": "127.0.0.1", "http_port": port}
        settings |= {"grpc_port": a_port(), "metrics_port": a_port()}
        options = self.how.options
        if "parallel_workers" in options:
            settings["parallel_workers"] = options["parallel_workers"]
        if options.get("quiet"):
            settings |= {"debug": False, "metrics_endpoint": None}
        model = {"name": "peer", "implementation": "mlserver_runtime.Peer"}
        (self.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        (self.folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")

    def request(self, url: str, exact: bool = False) -> bytes:
        """The probe's usual input, or the exact one."""
        path, content_type, body = FORMS[self.how.form](self.probe, self.probe.exact if exact else self.probe.usual)
        return request_bytes(url, path, body, content_type)

    def told(self, body: bytes | str) -> tuple[str, list[float]]:
        """Label and probabilities of an answer. Raises ValueError where it is none."""
        try:
            return READERS[self.how.form](json.loads(body), self.probe.labels)
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"no answer: {type(error).__name__}: {error}") from None

    def right(self, body: bytes | str) -> bool:
        """Whether it has the label of the probe's usual input."""
        try:
            return self.told(body)[0] == self.probe.label
        except ValueError:
            return False


def _numbers(probe: Probe, body: bytes) -> list[Any]:
    """The encoded input as JSON has it; whole numbers for pixels, as they are."""
    if probe.kind == "tabular":
        return list(probe.encoded[0].tolist())
    return list(decode_picture(body, *picture_view(probe.contract["features"])).tolist())


def _raw(probe: Probe, body: bytes) -> tuple[str, str, bytes]:
    if probe.kind == "image":
        return "/picture", "image/png" if body is probe.exact else "image/jpeg", body
    return "/row", "application/json", json.dumps(_numbers(probe, body)).encode()


def _v2(probe: Probe, body: bytes) -> tuple[str, str, bytes]:
    if probe.kind == "image":
        text = base64.b64encode(body).decode()
        given: dict[str, Any] = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
        given["parameters"] = {"content_type": "base64"}
    else:
        row = _numbers(probe, body)
        given = {"name": "row", "shape": [1, len(row)], "datatype": "FP32", "data": row}
    return "/v2/models/peer/infer", "application/json", json.dumps({"inputs": [given]}).encode()


def _mlflow(probe: Probe, body: bytes) -> tuple[str, str, bytes]:
    return "/invocations", "application/json", json.dumps({"inputs": [_numbers(probe, body)]}).encode()


def _read_raw(told: Any, labels: Sequence[str]) -> tuple[str, list[float]]:
    return str(told["label"]), [float(told["probabilities"][label]) for label in labels]


def _read_v2(told: Any, labels: Sequence[str]) -> tuple[str, list[float]]:
    outputs = {one["name"]: one["data"] for one in told["outputs"]}
    return str(outputs["label"][0]), [float(one) for one in outputs["probabilities"]]


def _read_mlflow(told: Any, labels: Sequence[str]) -> tuple[str, list[float]]:
    found = told["predictions"]
    shares = found["probabilities"][0] if isinstance(found, dict) else found[0]["probabilities"]
    return labels[int(np.argmax(shares))], [float(one) for one in shares]


Form = Callable[[Probe, bytes], tuple[str, str, bytes]]
FORMS: dict[str, Form] = {"raw": _raw, "v2": _v2, "mlflow": _mlflow}
READERS: dict[str, Callable[[Any, Sequence[str]], tuple[str, list[float]]]] = {
    "raw": _read_raw,
    "v2": _read_v2,
    "mlflow": _read_mlflow,
}


def apart(found: Sequence[float], wanted: np.ndarray, most: float) -> float:
    """The largest difference of a probability. Raises NotServing above `most`."""
    worst = float(np.abs(np.asarray(found) - wanted).max()) if len(found) == len(wanted) else 1.0
    if not worst <= most:
        raise NotServing(f"it answers wrong: a probability is {worst:.4f} apart from the network's; {most:g} at most")
    return worst


def _run(command: Sequence[str], known: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            command, env=known, capture_output=True, text=True, check=False, timeout=PREPARE_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(str(error)) from None
    if done.returncode:
        raise NotInstalled(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-800:]}")
