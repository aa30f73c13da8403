"""The peers: which packages each has, how it is started, how it is asked, and what its best configuration may be.

What those packages need themselves is not pinned: pip's newest that fits, as whoever installs the peer gets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TENSORFLOW = ("tensorflow-cpu==2.21.0", "keras==3.15.1")
ONNX = ("onnxruntime==1.32.0",)
SHARED = ("numpy==2.4.6", "pillow==13.0.0", "simplejpeg==1.9.0")
# The one that writes network.onnx out of the SavedModel.
EXPORT = ("tf2onnx==1.17.0", "onnx==1.23.2", "tensorflow-cpu==2.21.0", "numpy==2.4.6")


@dataclass(frozen=True)
class Configuration:
    """What is set otherwise than by default; `form`: how it is asked."""

    told: str
    options: dict[str, Any] = field(default_factory=dict)
    form: str = "raw"


@dataclass(frozen=True)
class Peer:
    """A server of another project. `tuned` are what is tried to find its best configuration."""

    name: str
    packages: tuple[str, ...]
    server: str
    network: str
    default: Configuration
    tuned: tuple[Configuration, ...] = ()


FLASK = ("flask==3.1.3", "waitress==3.0.2")
BENTO, LIT = ("bentoml==1.4.40",), ("litserve==0.2.19",)
MLSERVER = ("mlserver==1.7.1", "uvloop==0.21.0")  # its workers don't start with a later uvloop
ONE = {"intra": 1, "spinning": 0}
ONE_TOLD = "1 thread a call, no spinning"
QUIET = "no metrics, no access log"
LEAN = {**ONE, "num_api_servers": 1, "timeout": False, "log_level": "error"}
LEAN_TOLD = f"{ONE_TOLD}, 1 API server, no access log"

PEERS = (
    Peer(
        "mlflow",
        ("mlflow==3.17.2", *TENSORFLOW, *SHARED),
        "mlflow",
        "keras",
        Configuration("as it comes", form="mlflow"),
    ),
    Peer("bentoml_keras", (*BENTO, *TENSORFLOW, *SHARED), "bento", "keras", Configuration("1 worker, model.predict")),
    Peer("litserve_keras", (*LIT, *TENSORFLOW, *SHARED), "lit", "keras", Configuration("1 worker, model.predict")),
    Peer("flask_keras", (*FLASK, *TENSORFLOW, *SHARED), "flask", "keras", Configuration("1 process, model.predict")),
    Peer(
        "flask_function",
        (*FLASK, *TENSORFLOW, *SHARED),
        "flask",
        "function",
        Configuration("1 process, tf.function"),
        (
            Configuration("1 process, 1 thread a call", {"intra": 1, "inter": 1}),
            Configuration("1 process, 2 threads, 1 thread a call", {"threads": 2, "intra": 1, "inter": 1}),
            Configuration("2 processes, 1 thread a call", {"workers": 2, "intra": 1, "inter": 1}),
            Configuration(
                "2 processes, 2 threads each, 1 thread a call", {"workers": 2, "threads": 2, "intra": 1, "inter": 1}
            ),
        ),
    ),
    Peer(
        "bentoml_onnx",
        (*BENTO, *ONNX, *SHARED),
        "bento",
        "onnx",
        Configuration("1 worker"),
        (
            Configuration(f"1 worker, {ONE_TOLD}, {QUIET}", {**ONE, "quiet": True}),
            Configuration(f"1 worker, 2 threads, {ONE_TOLD}, {QUIET}", {**ONE, "quiet": True, "threads": 2}),
            Configuration(f"1 worker, 4 threads, {ONE_TOLD}, {QUIET}", {**ONE, "quiet": True, "threads": 4}),
            Configuration(f"2 workers, {ONE_TOLD}, {QUIET}", {**ONE, "quiet": True, "workers": 2}),
            Configuration(
                f"2 workers, 2 threads, {ONE_TOLD}, {QUIET}", {**ONE, "quiet": True, "workers": 2, "threads": 2}
            ),
        ),
    ),
    Peer(
        "mlserver_onnx",
        (*MLSERVER, *ONNX, *SHARED),
        "mlserver",
        "onnx",
        Configuration("1 worker, V2 protocol", form="v2"),
        (
            Configuration(f"no worker, raw route, {ONE_TOLD}, {QUIET}", {**ONE, "parallel_workers": 0, "quiet": True}),
            Configuration(
                f"no worker, raw route, no spinning, {QUIET}", {"spinning": 0, "parallel_workers": 0, "quiet": True}
            ),
            Configuration(
                f"no worker, V2 protocol, {ONE_TOLD}, {QUIET}", {**ONE, "parallel_workers": 0, "quiet": True}, "v2"
            ),
            Configuration(
                f"2 workers, V2 protocol, {ONE_TOLD}, {QUIET}", {**ONE, "parallel_workers": 2, "quiet": True}, "v2"
            ),
        ),
    ),
    Peer(
        "litserve_onnx",
        (*LIT, *ONNX, *SHARED),
        "lit",
        "onnx",
        Configuration("1 worker"),
        (
            Configuration(f"1 worker, {LEAN_TOLD}", LEAN),
            Configuration(f"1 worker, fast queue, {LEAN_TOLD}", {**LEAN, "fast_queue": True}),
            Configuration(f"2 workers, {LEAN_TOLD}", {**LEAN, "workers_per_device": 2}),
            Configuration(f"2 workers, fast queue, {LEAN_TOLD}", {**LEAN, "workers_per_device": 2, "fast_queue": True}),
        ),
    ),
)
