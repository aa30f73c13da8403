"""scripts/setup: one environment for all scripts, to which each adds packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from servers import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.full]
SHIM = f"""#!/bin/sh
# As from pyenv: a program that chooses a Python and executes it.
exec {sys.executable} "$@"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that scripts/setup needs, and a folder `bin` whose python3 is a shim."""
    for name in ("pyproject.toml", "uv.lock", "scripts/setup", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(SHIM)
    (tmp_path / "bin" / "python3").chmod(0o755)
    return tmp_path


def set_up(checkout: Path, group: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", f'. scripts/setup {group} && echo "$python"'],
        cwd=checkout,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_groups_are_added_to_one_environment_which_is_never_rebuilt(checkout: Path) -> None:
    first = set_up(checkout, "deploy")
    assert first.returncode == 0, first.stderr
    python = checkout / ".venv" / "bin" / "python"
    assert Path(first.stdout.strip()) == python
    # A program of the environment keeps running while other groups are added.
    running = subprocess.Popen([python, "-c", "input(); import yaml, requests"], stdin=subprocess.PIPE)
    second = set_up(checkout, "objects")
    assert second.returncode == 0, second.stderr
    assert (checkout / ".venv" / ".ready-deploy").exists()
    running.communicate(b"\n")
    assert running.returncode == 0
    third = set_up(checkout, "deploy")
    assert (third.returncode, third.stderr) == (0, "")  # nothing is left to do
    subprocess.run([python, "-c", "import yaml, requests, boto3"], check=True)


def test_another_python_than_the_environment_s_is_refused_with_advice(checkout: Path) -> None:
    assert set_up(checkout, "deploy").returncode == 0
    other = checkout / "bin" / "other"
    other.write_text("#!/bin/sh\necho 3.99\n")
    other.chmod(0o755)
    done = set_up(checkout, "deploy", SABUESO_PYTHON=str(other))
    assert done.returncode == 1
    assert "not the version of SABUESO_PYTHON" in done.stderr
    assert "rm -rf" in done.stderr
