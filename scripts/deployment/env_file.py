"""infra/.env: the settings and secrets of a deployment."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from common.errors import FieldError, WrongSettings

ROOT = Path(__file__).resolve().parents[2]
ENV_FILE = ROOT / "infra" / ".env"
UNKNOWN = ("", "unknown")


def read_env(text: str) -> dict[str, str]:
    """NAME=value lines as compose reads them; a name without a value counts as not set."""
    variables = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        quoted = re.match(r"""\s*(['"])(.*?)\1\s*(?:#.*)?$""", value)
        value = quoted[2] if quoted else re.split(r"(?:^|\s)#", value)[0].strip()
        if equals and value and not name.startswith("#"):
            variables[name.strip()] = value
    return variables


def read_deployment_variables(file: Path | None, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of `file` (default: infra/.env, if it exists), overridden by the environment.

    Raises WrongSettings if `file` is given and missing.
    """
    if file is not None and not file.is_file():
        raise WrongSettings("The settings", [FieldError("--env", f"no file {file}")])
    path = file or ENV_FILE
    in_file = read_env(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {**in_file, **{name: value for name, value in environment.items() if value}}


def with_commit(settings: Mapping[str, str]) -> dict[str, str]:
    """Add TAG and GIT_COMMIT from git if they are not set, so that each deployment can be rolled back to by name."""
    variables = dict(settings)
    if variables.get("GIT_COMMIT", "") in UNKNOWN or not variables.get("TAG"):
        words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        try:
            commit = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 (words, no shell)
        except (OSError, subprocess.CalledProcessError):
            commit = ""
        if variables.get("GIT_COMMIT", "") in UNKNOWN and commit:
            variables["GIT_COMMIT"] = commit
        variables["TAG"] = variables.get("TAG") or commit or "latest"
    return variables
