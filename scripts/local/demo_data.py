"""The demo's own sources, if the caller sets none: a data API and drawn pets, both marked as made-up."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from local.drawings import draw_pets
from local.made_up_rows import read_rows
from local.stack import MACHINE, ROOT
from local.system import StartFailed, System, free_port, is_free

PICTURES, SEED = 800, 7


class DemoData:
    """Sets COVERTYPE_API_URL and PETS_SOURCE for the functions if the caller did not."""

    def __init__(self, system: System, arguments: argparse.Namespace) -> None:
        self.system, self.arguments = system, arguments
        self.made_up: set[str] = set()
        # Seconds between two fetches, for our own sources.
        self.waits_s: dict[str, float] = {}

    def start(self) -> None:
        """Start the data API and draw the pets, as needed. Raises StartFailed."""
        environment = self.system.environment
        if not environment.get("COVERTYPE_API_URL"):
            environment["COVERTYPE_API_URL"] = self._start_data_api()
            # A little longer than a window, so that each fetch gets a new one.
            self.waits_s["covertype"] = self.arguments.window + 0.05
        elif self.arguments.csv or self.arguments.faults:
            raise StartFailed("--csv and --faults need the demo's own data API: unset COVERTYPE_API_URL")
        source = environment.get("PETS_SOURCE", "")
        if not source:
            environment["PETS_SOURCE"] = self._draw()
            self.waits_s["pets"] = 0.3
        elif not source.startswith(("http://", "https://", "s3://")):
            environment["PETS_SOURCE"] = str(Path(source).resolve())

    def _start_data_api(self) -> str:
        command = [
            sys.executable,
            "-m",
            "local.data_api",
            "--window",
            str(self.arguments.window),
            "--mode",
            self.arguments.mode,
        ]
        if self.arguments.csv:
            try:
                read_rows(self.arguments.csv)
            except (OSError, ValueError) as error:
                raise StartFailed(f"--csv {self.arguments.csv}: {error}") from None
            command += ["--csv", str(self.arguments.csv.resolve())]
        else:
            self.made_up.add("covertype")
        if self.arguments.faults:
            command += ["--faults", self.arguments.faults]
        port = self._port()
        machine = {key: self.system.environment[key] for key in MACHINE if key in self.system.environment}
        environment = {**machine, "PYTHONPATH": str(ROOT / "scripts")}
        self.system.processes.start("data-api", [*command, "--port", str(port)], environment, ROOT)
        self.system.wait_for(f"http://127.0.0.1:{port}/", "data-api")
        return f"http://127.0.0.1:{port}"

    def _port(self) -> int:
        """The same port at every start: the stored data record the URL of their source."""
        file = self.system.home / "data-api.json"
        if file.exists():
            port = int(json.loads(file.read_text())["port"])
            if not is_free(port):
                raise StartFailed(
                    f"port {port} is in use, but the data API of {self.system.home} needs it; "
                    f"free it, or use another --home"
                )
            return port
        port = free_port(self.system.port + 1000 if self.system.port < 60000 else 0)
        file.write_text(json.dumps({"port": port}))
        return port

    def _draw(self) -> str:
        self.made_up.add("pets")
        folder = self.system.home / "drawn-pets"
        draw_pets(folder, PICTURES, SEED)
        return str(folder)
