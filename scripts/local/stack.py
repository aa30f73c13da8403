"""Reads stack.yml for local processes: the same functions, environment, secrets and cron annotations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
_PLACE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
# Variables of the machine that a process needs besides those of stack.yml.
MACHINE = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)


@dataclass(frozen=True)
class Function:
    """A function of stack.yml; `schedule` is its cron annotation, if any."""

    name: str
    image: str
    environment: dict[str, str]
    secrets: tuple[str, ...]
    annotations: dict[str, str]
    labels: dict[str, str]
    build_arguments: dict[str, str] = field(default_factory=dict)

    @property
    def schedule(self) -> str | None:
        return self.annotations.get("schedule") if self.annotations.get("topic") == "cron-function" else None


def _resolved(value: Any, environment: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: environment.get(match[1]) or match[2] or "", str(value))


def read_stack(environment: Mapping[str, str], path: Path = ROOT / "stack.yml") -> list[Function]:
    """The functions of stack.yml, with ${NAME:-default} resolved as in faas-cli."""
    stack = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [
        Function(
            name=name,
            image=_resolved(raw["image"], environment),
            environment={key: _resolved(value, environment) for key, value in (raw.get("environment") or {}).items()},
            secrets=tuple(raw.get("secrets") or ()),
            annotations={key: str(value) for key, value in (raw.get("annotations") or {}).items()},
            labels={key: str(value) for key, value in (raw.get("labels") or {}).items()},
            build_arguments={
                key: _resolved(value, environment) for key, value in (raw.get("build_args") or {}).items()
            },
        )
        for name, raw in stack["functions"].items()
    ]


def local_environment(
    function: Function, machine: Mapping[str, str], port: int, secrets: Path, overrides: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a function's process: stack.yml, then SABUESO_* of the machine, then the overrides."""
    variables = {key: machine[key] for key in MACHINE if key in machine}
    variables |= {key: value for key, value in function.environment.items() if value}
    variables |= {key: value for key, value in machine.items() if key.startswith("SABUESO_")}
    return {**variables, **overrides, "SABUESO_SECRETS": str(secrets), "HOST": "127.0.0.1", "PORT": str(port)}
