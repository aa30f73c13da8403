"""The contracts between the packages of functions/ (pyproject.toml, import-linter) fail on a wrong import."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo", ROOT / "pyproject.toml"],
        env={"PYTHONPATH": f"{root}/functions:{ROOT}/scripts", "PATH": "/usr/bin:/bin"},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("file", "wrong", "contract"),
    [
        ("classify/explain.py", "import train.snapshot", "No function imports another"),
        ("train/retry.py", "from fetch_batch import trigger", "No function imports another"),
        ("common/web.py", "import classify.slots", "The common library imports no function"),
        ("common/lonely.py", "", "Every module of the common library is used by two functions"),
        ("classify/inputs.py", "from common.storage import keys", "classify does not touch the object store"),
        ("train/snapshot.py", "from train.fit import members", "The steps of a training"),
        ("train/statistics/metrics.py", HIDDEN + "from train.gate import rule", "The steps of a training"),
        ("train/brand_new.py", "", "The steps of a training"),
        ("common/errors.py", "import common.documents", "No circle of imports"),
        ("common/storage/keys.py", HIDDEN + "import common.storage.dataset", "No circle of imports"),
    ],
)
def test_a_wrong_import_is_refused(tmp_path: Path, file: str, wrong: str, contract: str) -> None:
    shutil.copytree(ROOT / "functions", tmp_path / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "functions" / file).open("a") as module:
        module.write(f"\n{wrong}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [line for line in result.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(line.startswith(contract) for line in broken), broken


def test_the_rooms_keep_their_contracts() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
