"""The peers' environments: one each in .bench/, made with uv out of the pinned packages, kept as long as those stay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.quality_data import ROOT

HOME = ROOT / ".bench"
NEEDS_S = 1800


class NotInstalled(Exception):
    """Why a peer can't be installed."""


def install(name: str, packages: Sequence[str], home: Path = HOME) -> Path:
    """The folder of programs (python among them) of that environment. Raises NotInstalled."""
    folder = home / name
    stamp, wanted = folder / "packages", "\n".join([sys.version, *sorted(packages)])
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return folder / "bin"
    own = ROOT / ".tools" / "bin" / "uv"
    uv = str(own) if own.exists() else shutil.which("uv")
    if uv is None:
        raise NotInstalled("no uv in .tools/bin or PATH: scripts/setup puts it there")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    _run([uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *packages])
    stamp.write_text(wanted, encoding="utf-8")
    return folder / "bin"


def environment(programs: Path) -> dict[str, str]:
    """Of a program of such an environment: nothing of ours but the machine's places."""
    kept = ("HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    return {**found, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}", "CUDA_VISIBLE_DEVICES": "-1"}


def _run(command: Sequence[str]) -> None:
    outside = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    try:
        done = subprocess.run(
            command, env=outside, capture_output=True, text=True, check=False, timeout=NEEDS_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{Path(command[0]).name}: {error}") from None
    if done.returncode:
        raise NotInstalled(f"{' '.join(command[:3])}: {done.stderr.strip()[-600:]}")
