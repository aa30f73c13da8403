"""infra/.env: the one file of a deployment's settings and secrets."""

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
    """NAME=value lines as compose reads them; a name with nothing after `=` counts as not there."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        quoted = re.match(r"""\s*(['"])(.*?)\1\s*(?:#.*)?$""", value)
        value = quoted[2] if quoted else re.split(r"(?:^|\s)#", value)[0].strip()
        if equals and value and not name.startswith("#"):
            found[name.strip()] = value
    return found


def read_settings_of(file: Path | None, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The file's variables (infra/.env if it is there and no other was named), and what the environment sets over them.

    Raises WrongSettings if the file that was named is missing.
    """
    if file is not None and not file.is_file():
        raise WrongSettings("The settings", [FieldError("--env", f"no file {file}")])
    path = file or ENV_FILE
    in_file = read_env(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {**in_file, **{name: value for name, value in environment.items() if value}}


def with_commit(settings: Mapping[str, str]) -> dict[str, str]:
    """TAG and GIT_COMMIT from git where they are not set, so that each deployment has a name to go back to."""
    found = dict(settings)
    if found.get("GIT_COMMIT", "") in UNKNOWN or not found.get("TAG"):
        words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        try:
            commit = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            commit = ""
        if found.get("GIT_COMMIT", "") in UNKNOWN and commit:
            found["GIT_COMMIT"] = commit
        found["TAG"] = found.get("TAG") or commit or "latest"
    return found
