"""The programs that a deployment needs: faas-cli, and one that builds images. Secrets go in on standard input."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

END_LINES = 12
BUILDERS = {
    "docker": "faas-cli build and push",
    "buildah": "faas-cli's contexts, buildah",
    "podman": "faas-cli's contexts, podman",
}


class StepFailed(Exception):
    """What did not work, and what to do about it."""


@dataclass(frozen=True)
class Programs:
    """Runs programs with the deployment's variables; `dry`: shows them and runs none."""

    environment: Mapping[str, str]
    dry: bool = False

    def run(self, *words: str, given: str | None = None, shown: str | None = None, aloud: bool = False) -> str:
        """Its output; `given` is its standard input, and is not shown. Raises StepFailed with the end of its output.

        `aloud`: what it prints goes to the terminal while it works.
        """
        line = shown or shlex.join(words)
        if self.dry:
            print(f"    {line}", flush=True)
            return ""
        output = None if aloud else subprocess.PIPE
        try:
            done = subprocess.run(
                words,
                input=given,
                stdin=subprocess.DEVNULL if given is None else None,
                stdout=output,
                stderr=None if aloud else subprocess.STDOUT,
                env=dict(self.environment),
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise StepFailed(f"there is no program `{words[0]}` on PATH") from None
        if done.returncode:
            raise StepFailed(f"`{line}` ended with code {done.returncode}{end_of(done.stdout)}")
        return done.stdout or ""

    def listed(self, *words: str) -> list[dict[str, Any]]:
        """The list that a faas-cli command prints with --json. Raises StepFailed."""
        text = self.run("faas-cli", *words, "--json")
        if self.dry:
            return []
        try:
            found = json.loads(text[text.index("[") :] if "[" in text else "[]")
        except ValueError:
            raise StepFailed(f"`faas-cli {shlex.join(words)} --json` printed no JSON{end_of(text)}") from None
        return list(found)

    def builder(self) -> str:
        """The first program here that builds images. Raises StepFailed."""
        for name in BUILDERS:
            if shutil.which(name, path=self.environment.get("PATH")):
                return name
        raise StepFailed(
            f"no program here builds images ({', '.join(BUILDERS)}). Install one; or build and push on another "
            "machine, and deploy from here with --no-build and the same REGISTRY and TAG"
        )


def end_of(output: str | None) -> str:
    lines = [line for line in (output or "").splitlines() if line.strip()][-END_LINES:]
    return ":\n" + "\n".join(f"      {line}" for line in lines) if lines else ""
