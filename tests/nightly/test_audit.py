"""No locked package has a known vulnerability."""

from __future__ import annotations

import subprocess

from audits.audit import OUT_OF_REACH
from servers import ROOT, missing


def test_no_locked_package_has_a_known_vulnerability() -> None:
    done = subprocess.run([ROOT / "scripts" / "audit"], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode == OUT_OF_REACH:
        missing(f"scripts/audit: {done.stdout}{done.stderr}".strip())
    assert done.returncode == 0, done.stdout + done.stderr
