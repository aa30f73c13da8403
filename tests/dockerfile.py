"""Runs the steps of functions/Dockerfile in a folder, for machines that can't build images.

Each path of the image (/venv, /function, /home/app) is a folder below the root of its stage. Steps that change the
machine (`RUN useradd`) are skipped. The base images are the Python of the tests and, if installed, of-watchdog.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from local.stack import MACHINE

IMAGE_PATHS = re.compile(r"(?<![\w./}])/(?=(build|venv|function|home/app)\b)")


@dataclass
class Stage:
    """A stage of the build, from FROM on: its file system, environment and command."""

    root: Path
    arguments: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    command: list[str] = field(default_factory=list)

    def path(self, path: str) -> Path:
        """The path on this machine of a path in the image."""
        return self.root / (Path(self.folder) / path).as_posix().lstrip("/")

    def with_local_paths(self, text: str) -> str:
        return IMAGE_PATHS.sub(f"{self.root}/", text)


def instructions(text: str) -> list[tuple[str, str]]:
    """Name and arguments of each instruction of a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in pairs]


def assignments(text: str) -> dict[str, str]:
    return {key: value.strip('"') for key, value in re.findall(r'([\w.]+)=("[^"]*"|\S*)', text)}


def build(context: Path, folder: Path, arguments: dict[str, str], python: Path) -> Stage:
    """Run context/Dockerfile below `folder` with the programs next to `python`; returns the last stage.

    Raises AssertionError if a step fails, ValueError for an unsupported instruction.
    """
    stages: dict[str, Stage] = {}
    global_arguments: dict[str, str] = {}
    stage = Stage(folder, {})
    for name, rest in instructions((context / "Dockerfile").read_text(encoding="utf-8")):
        variables = {**global_arguments, **stage.arguments, **stage.environment}
        value = re.sub(r"\$\{(\w+)\}", lambda match, variables=variables: variables.get(match[1], ""), rest)
        if name == "ARG":
            key, _, default = value.partition("=")
            scope = stage.arguments if stages else global_arguments
            scope[key] = arguments.get(key, global_arguments.get(key, default))
        elif name == "FROM":
            _, _, alias = value.partition(" AS ")
            stage = stages[alias or "last"] = Stage(folder / (alias or "last"), {})
            stage.root.mkdir(parents=True)
        elif name == "ENV":
            stage.environment |= assignments(value)
        elif name == "WORKDIR":
            stage.folder = value
            stage.path("").mkdir(parents=True, exist_ok=True)
        elif name == "RUN":
            if not rest.startswith("useradd"):
                _run(stage, rest, python)
        elif name == "COPY":
            _copy(stage, value, context, stages)
        elif name == "CMD":
            stage.command = re.findall(r'"([^"]*)"', value)
        elif name not in ("LABEL", "USER", "EXPOSE", "HEALTHCHECK"):
            raise ValueError(f"{name} is not supported")
    return stage


def _run(stage: Stage, command: str, python: Path) -> None:
    environment = {key: os.environ[key] for key in (*MACHINE, "PIP_CERT", "PIP_INDEX_URL") if key in os.environ}
    environment |= {**stage.environment, **stage.arguments, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    environment.pop("PIP_NO_CACHE_DIR", None)  # an image needs no cache, repeated tests do
    done = subprocess.run(
        ["/bin/sh", "-c", stage.with_local_paths(command)],
        cwd=stage.path(""),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"RUN {command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def _copy(stage: Stage, text: str, context: Path, stages: dict[str, Stage]) -> None:
    words, origin, copy = text.split(), context, shutil.copy2
    if words[0].startswith("--from="):
        # Gigabytes of files that never change: hard links instead of copies.
        origin, copy = stages[words.pop(0).partition("=")[2]].root, os.link
    *sources, target = words
    for source in sources:
        original = origin / source.lstrip("/")
        if original.name == "fwatchdog" and not original.exists():
            continue  # it comes from an image that is not available here
        destination = stage.path(target)
        if original.is_dir():
            shutil.copytree(original, destination, symlinks=True, copy_function=copy, dirs_exist_ok=True)
        else:
            destination.parent.mkdir(parents=True, exist_ok=True)
            copy(original, destination)


def process(stage: Stage, machine: dict[str, str], watchdog: str | None) -> tuple[list[str], dict[str, str], Path]:
    """Command, environment and folder of the image's process; `machine` overrides the image's environment.

    The command is the image's own if of-watchdog is installed, otherwise the process that of-watchdog would start.
    """
    environment = {key: stage.with_local_paths(value) for key, value in stage.environment.items()} | machine
    environment["PATH"] = f"{stage.path('/venv/bin')}:{os.environ['PATH']}"
    assert stage.command == ["fwatchdog"]
    words = [watchdog] if watchdog else environment["fprocess"].split()
    program = shutil.which(words[0], path=environment["PATH"])
    assert program is not None, f"the image has no {words[0]}"
    return [program, *words[1:]], environment, stage.path("")
