"""infra/.env: the one file of a deployment's settings and secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from common.errors import FieldError, WrongSettings

ROOT = Path(__file__).resolve().parents[2]
ENV_FILE = ROOT / "infra" / ".env"


def read_env(text: str) -> dict[str, str]:
    """NAME=value lines as compose reads them; a name with nothing after `=` counts as not there."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        value = value.strip()
        if value[:1] in ("'", '"') and value[:1] == value[-1:]:
            value = value[1:-1]
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
