"""A program that is stopped while it starts a child process still stops the child."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import HERE, wait_until

# Popen returns only once the file `go` exists; by then the child has written its id to the file `pid`.
SLOWLY = """
import signal, subprocess, sys, time
from pathlib import Path
begin = subprocess.Popen.__init__
def slowly(self, *given, **more):
    begin(self, *given, **more)
    while not Path("go").exists():
        time.sleep(0.01)
subprocess.Popen.__init__ = slowly
def stop(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
"""
LOCAL = """
import os
from local.processes import Processes
processes = Processes(Path("logs"))
try:
    processes.start("one", ["./mariadb"], os.environ, Path())
    time.sleep(600)
finally:
    processes.stop()
"""
BACKUPS = """
from backups.database import Address, Mysql
Mysql(Address("127.0.0.1", 9, "somebody", "password", "mlflow")).tables()
"""
HANG = '#!/bin/sh\necho "$$" > pid.part && mv pid.part pid\nexec sleep 600\n'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("program", [LOCAL, BACKUPS], ids=["local", "backups"])
def test_the_child_process_is_stopped(tmp_path: Path, program: str, number: signal.Signals) -> None:
    (tmp_path / "mariadb").write_text(HANG)
    (tmp_path / "mariadb").chmod(0o755)
    root = HERE.parent
    paths = os.pathsep.join([str(root / "scripts"), str(root / "functions")])
    environment = {"PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]]), "PYTHONPATH": paths}
    command = [sys.executable, "-c", SLOWLY + program]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until((tmp_path / "pid").exists)
    process.send_signal(number)
    (tmp_path / "go").touch()
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
