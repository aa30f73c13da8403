"""scripts/backups/database.py without servers: the order in which it starts its client programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backups.database import Address, Mysql


def test_a_query_is_complete_before_the_client_program_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client = tmp_path / "mariadb"
    client.write_text("#!/bin/sh\nexec cat\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    started = subprocess.Popen

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """As on a busy machine: the program reads all its input before its parent continues."""
        process = started(command, **options)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    database = Mysql(Address("127.0.0.1", 3306, "mlflow", "secret", "mlflow"))
    assert database.tables() == [database.tables_sql]
