"""The load generator in a process of its own, so that whoever measures does not hold up its clients.

`python -m benchmarks.generator` reads a JSON line for each measurement, and answers with one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.load import Clients, measured

SCRIPTS = Path(__file__).resolve().parents[1]
MOST_CALLS = 10_000_000


class Generator:
    """The process, as whoever asks for measurements sees it: `with Generator() as generator`."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        places = os.pathsep.join([str(SCRIPTS), str(SCRIPTS.parent / "functions")])
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.generator"],
            env={**os.environ, "PYTHONPATH": places},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is the matter of the process that waits
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._child.communicate()  # closes its stdin, with which it ends
        self._folder.cleanup()

    def measure(
        self, url: str | Sequence[str], request: bytes, clients: int, seconds: float, **given: Any
    ) -> dict[str, Any]:
        """What `load.measured` tells, and the last answer's `body` with 200; `given`: calls, timeout_s."""
        file = Path(self._folder.name) / "request"
        file.write_bytes(request)
        spec = {
            "urls": [url] if isinstance(url, str) else list(url),
            "file": str(file),
            "clients": clients,
            "seconds": seconds,
            **given,
        }
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(spec) + "\n")
        self._child.stdin.flush()
        return dict(json.loads(self._child.stdout.readline()))


def main() -> int:
    for line in sys.stdin:
        spec = json.loads(line)
        at_work = Clients(spec["urls"], Path(spec["file"]).read_bytes(), timeout_s=spec.get("timeout_s", 60))
        found = measured(at_work, spec["clients"], spec["seconds"], spec.get("calls", MOST_CALLS))
        print(json.dumps({**found, "body": at_work.last.decode("utf-8", "replace")}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
