"""functions/Dockerfile carried out in a folder, where no image can be built: the same steps, the same command.

Every place of the image (/venv, /function, /home/app) is a folder below the root of its stage. What changes a whole
machine (`RUN useradd`) is left out; the base images are the Python of the tests and, where it is, its of-watchdog.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from local.stack import MACHINE

PLACES = re.compile(r"(?<![\w./}])/(?=(build|venv|function|home/app)\b)")


@dataclass
class Stage:
    """One FROM and what follows it: its file system, environment and command."""

    root: Path
    arguments: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    command: list[str] = field(default_factory=list)

    def place(self, path: str) -> Path:
        """Where a path of the image is."""
        return self.root / (Path(self.folder) / path).as_posix().lstrip("/")

    def in_places(self, text: str) -> str:
        return PLACES.sub(f"{self.root}/", text)


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each on one line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in pairs]


def assignments(text: str) -> dict[str, str]:
    return {key: value.strip('"') for key, value in re.findall(r'([\w.]+)=("[^"]*"|\S*)', text)}


def build(context: Path, folder: Path, arguments: dict[str, str], python: Path) -> Stage:
    """Carry out context/Dockerfile below `folder` with the programs of `python`'s folder; the last stage.

    Raises CalledProcessError if a step fails, ValueError for an instruction that is not known here.
    """
    stages: dict[str, Stage] = {}
    given: dict[str, str] = {}
    stage = Stage(folder, {})
    for name, rest in instructions((context / "Dockerfile").read_text(encoding="utf-8")):
        known = {**given, **stage.arguments, **stage.environment}
        value = re.sub(r"\$\{(\w+)\}", lambda match, known=known: known.get(match[1], ""), rest)
        if name == "ARG":
            key, _, default = value.partition("=")
            (stage.arguments if stages else given)[key] = arguments.get(key, given.get(key, default))
        elif name == "FROM":
            _, _, alias = value.partition(" AS ")
            stage = stages[alias or "last"] = Stage(folder / (alias or "last"), {})
            stage.root.mkdir(parents=True)
        elif name == "ENV":
            stage.environment |= assignments(value)
        elif name == "WORKDIR":
            stage.folder = value
            stage.place("").mkdir(parents=True, exist_ok=True)
        elif name == "RUN":
            if not rest.startswith("useradd"):
                _run(stage, rest, python)
        elif name == "COPY":
            _copy(stage, value, context, stages)
        elif name == "CMD":
            stage.command = re.findall(r'"([^"]*)"', value)
        elif name not in ("LABEL", "USER", "EXPOSE", "HEALTHCHECK"):
            raise ValueError(f"{name} is not known here")
    return stage


def _run(stage: Stage, command: str, python: Path) -> None:
    environment = {key: os.environ[key] for key in (*MACHINE, "PIP_CERT", "PIP_INDEX_URL") if key in os.environ}
    environment |= {**stage.environment, **stage.arguments, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    environment.pop("PIP_NO_CACHE_DIR", None)  # a layer needs no cache; tests that run again do
    done = subprocess.run(
        ["/bin/sh", "-c", stage.in_places(command)],
        cwd=stage.place(""),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"RUN {command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def _copy(stage: Stage, text: str, context: Path, stages: dict[str, Stage]) -> None:
    words, origin, copy = text.split(), context, shutil.copy2
    if words[0].startswith("--from="):
        # Gigabytes that nothing changes: the same files under another name.
        origin, copy = stages[words.pop(0).partition("=")[2]].root, os.link
    *sources, target = words
    for source in sources:
        found = origin / source.lstrip("/")
        if found.name == "fwatchdog" and not found.exists():
            continue  # its image has it
        goal = stage.place(target)
        if found.is_dir():
            shutil.copytree(found, goal, symlinks=True, copy_function=copy, dirs_exist_ok=True)
        else:
            goal.parent.mkdir(parents=True, exist_ok=True)
            copy(found, goal)


def process(stage: Stage, machine: dict[str, str], watchdog: str | None) -> tuple[list[str], dict[str, str], Path]:
    """Command, environment and folder of the image's process; `machine` counts over the image's environment.

    The command is the image's own where there is a watchdog's program, else what that one would start.
    """
    environment = {key: stage.in_places(value) for key, value in stage.environment.items()} | machine
    environment["PATH"] = f"{stage.place('/venv/bin')}:{os.environ['PATH']}"
    assert stage.command == ["fwatchdog"]
    words = [watchdog] if watchdog else environment["fprocess"].split()
    program = shutil.which(words[0], path=environment["PATH"])
    assert program is not None, f"the image has no {words[0]}"
    return [program, *words[1:]], environment, stage.place("")
