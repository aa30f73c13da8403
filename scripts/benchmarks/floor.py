"""The floor: decode or encode, and invoke, in a tight loop on each core, with no HTTP.

`python -m benchmarks.floor SPEC` is the loop of one core: it says `ready`, begins at a line on stdin, tells calls and
seconds of CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.probes import Lite
from common.features import encode_rows
from common.pictures import decode_picture, picture_view

SCRIPTS = Path(__file__).resolve().parents[1]
WARM = 20


def measure_floor(bundle: Path, body: bytes, folder: Path, seconds: float, functions: Path) -> dict[str, float]:
    """Calls a second on all cores together, and CPU of one call; the code of `functions` decodes and encodes."""
    file = folder / "floor-input"
    file.write_bytes(body)
    spec = {"bundle": str(bundle), "file": str(file), "seconds": seconds}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPTS), str(functions)])}
    cores = sorted(os.sched_getaffinity(0))
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.floor", json.dumps({**spec, "core": core})],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for core in cores
    ]
    try:
        for child in children:
            assert child.stdout is not None
            if child.stdout.readline().strip() != "ready":
                raise RuntimeError(f"the floor's loop ended with {child.wait()}")
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        told = [json.loads(child.stdout.readline()) for child in children if child.stdout is not None]
    finally:
        for child in children:
            child.kill()
            child.communicate()
    calls, cpu_s = sum(one["calls"] for one in told), sum(one["cpu_s"] for one in told)
    rps = sum(one["calls"] / one["seconds"] for one in told)
    return {"rps": round(rps, 1), "cpu_ms": round(cpu_s * 1000 / calls, 3)}


def main(argv: list[str]) -> int:
    spec = json.loads(argv[0])
    os.sched_setaffinity(0, {spec["core"]})
    step = _step(Path(spec["bundle"]), Path(spec["file"]).read_bytes())
    for _ in range(WARM):
        step()
    print("ready", flush=True)
    sys.stdin.readline()
    calls, cpu, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < spec["seconds"]:
        step()
        calls += 1
    seconds = time.perf_counter() - began
    print(json.dumps({"calls": calls, "seconds": seconds, "cpu_s": time.process_time() - cpu}), flush=True)
    return 0


def _step(bundle: Path, body: bytes) -> Callable[[], Any]:
    contract = json.loads((bundle / "contract.json").read_text(encoding="utf-8"))
    lite, features = Lite(bundle / "network.tflite"), contract["features"]
    if contract["kind"] == "image":
        view = picture_view(features)
        return lambda: lite(decode_picture(body, *view)[None].astype(np.float32))
    row = json.loads(body)
    values = tuple(row[column["name"]] for column in contract["columns"])
    return lambda: lite(encode_rows([values], features["columns"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
