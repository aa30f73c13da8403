"""Runs faas-cli and the program that builds images. Secrets are passed on standard input."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.redaction import redact

END_LINES = 12
BUILDERS = {
    "docker": "faas-cli build and push",
    "buildah": "faas-cli's contexts, buildah",
    "podman": "faas-cli's contexts, podman",
}


class StepFailed(Exception):
    """Why a step failed, and what to do about it."""


@dataclass(frozen=True)
class Programs:
    """Runs programs with the deployment's variables; with `dry`, only prints the commands."""

    environment: Mapping[str, str]
    dry: bool = False

    def run(self, *words: str, stdin: str | None = None, shown: str | None = None, live: bool = False) -> str:
        """Run a program and return its output. Raises StepFailed with the end of the output.

        `stdin` is never printed; `shown` is printed instead of the command. `live`: print the output as it arrives.
        """
        line = shown or shlex.join(words)
        if self.dry:
            print(f"    {line}", flush=True)
            return ""
        output = None if live else subprocess.PIPE
        try:
            done = subprocess.run(  # noqa: S603 (words, no shell)
                words,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=output,
                stderr=None if live else subprocess.STDOUT,
                env=dict(self.environment),
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise StepFailed(f"no program `{words[0]}` on PATH") from None
        if done.returncode:
            raise StepFailed(f"`{line}` failed with code {done.returncode}{end_of(done.stdout)}")
        return done.stdout or ""

    def list_json(self, *words: str) -> list[dict[str, Any]]:
        """The list that faas-cli prints with --json. Raises StepFailed."""
        text = self.run("faas-cli", *words, "--json")
        if self.dry:
            return []
        try:
            items = json.loads(text[text.index("[") :] if "[" in text else "[]")
        except ValueError:
            raise StepFailed(f"`faas-cli {shlex.join(words)} --json` printed no JSON{end_of(text)}") from None
        return list(items)

    def builder(self) -> str:
        """The first installed program that builds images. Raises StepFailed."""
        for name in BUILDERS:
            if shutil.which(name, path=self.environment.get("PATH")):
                return name
        raise StepFailed(
            f"no program to build images ({', '.join(BUILDERS)}). Install one, or build and push on another "
            "machine and deploy with --no-build and the same REGISTRY and TAG"
        )


def end_of(output: str | None) -> str:
    lines = [line for line in redact(output or "").splitlines() if line.strip()][-END_LINES:]
    return ":\n" + "\n".join(f"      {line}" for line in lines) if lines else ""
