"""Load by wrk: clients that call without a pause, each over its own connection."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("post.lua")
TIMEOUT_S, WARM_UP_S = 35, 1


class MeasurementFailed(Exception):
    """Why a measurement is impossible."""


def find_wrk() -> str:
    """The program's path. Raises MeasurementFailed."""
    program = shutil.which("wrk")
    if program is None:
        raise MeasurementFailed("wrk is not installed (Debian: apt install wrk)")
    return program


def load(url: str, body: bytes, content_type: str, clients: int, seconds: int) -> dict[str, Any]:
    """Calls per second without errors, latency of all calls, errors by kind. Raises MeasurementFailed.

    The error kind `status` counts answers with 400 and above.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = [find_wrk(), "--threads", "1", "--connections", str(clients), "--duration", f"{seconds}s"]
        command += ["--timeout", f"{TIMEOUT_S}s", "--script", str(SCRIPT), url, "--", file.name, content_type]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 (words, no shell)
    if done.returncode:
        raise MeasurementFailed(f"wrk failed: {done.stderr.strip()}")
    figures = json.loads(done.stdout.splitlines()[-1])
    failed = {kind: count for kind, count in figures.pop("failed").items() if count}
    rate = (figures["calls"] - failed.get("status", 0)) / figures["seconds"]
    return {**figures, "calls_per_s": round(rate, 1), "errors": sum(failed.values()), "failed": failed}
