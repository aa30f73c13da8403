"""scripts/lint fails if any of its checks fails."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from servers import ROOT

CHECKS = [
    "ruff check .",
    "ruff format --check .",
    "lint-imports --no-cache --no-logo",
    "mypy",
    "mypy --strict functions/common",
    "lock --check",
    "generate --check",
]


def lint(folder: Path, failing: str) -> tuple[int, list[str]]:
    """Runs scripts/lint with stand-ins for its commands, of which one fails; its status, and the commands that ran."""
    scripts, ran = folder / "scripts", folder / "ran"
    scripts.mkdir()
    shutil.copy(ROOT / "scripts" / "lint", scripts)
    (scripts / "setup").write_text(f"root={folder}\n")
    for name in {check.split()[0] for check in CHECKS}:
        command = f'call="$(basename "$0")${{*:+ $*}}"\necho "$call" >>{ran}\n[ "$call" != "{failing}" ]\n'
        (scripts / name).write_text(f"#!/bin/bash\n{command}")
        (scripts / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
    status = subprocess.run([scripts / "lint"], env=environment, capture_output=True, check=False).returncode
    return status, ran.read_text().splitlines()


def test_all_checks_run(tmp_path: Path) -> None:
    assert lint(tmp_path, failing="none") == (0, CHECKS)


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_that_fails_stops_lint(tmp_path: Path, check: str) -> None:
    status, ran = lint(tmp_path, failing=check)
    assert (status, ran[-1]) == (1, check)
