"""The table of settings, from the models of the functions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

from classify.settings import ClassifySettings
from common.settings import FUNCTIONS, Settings
from fetch_batch.settings import FetchSettings
from train.settings import TrainSettings

MODELS: Mapping[str, type[Settings]] = {
    "fetch-batch": FetchSettings,
    "train": TrainSettings,
    "classify": ClassifySettings,
}


def settings_table() -> str:
    """The settings as a Markdown table, the common ones first."""
    lines = ["| variable | default | read by | meaning |", "| --- | --- | --- | --- |"]
    for name, (field, readers) in _fields().items():
        read_by = "all" if len(readers) == len(MODELS) else ", ".join(f"`{reader}`" for reader in readers)
        lines.append(f"| `{name}` | {_default(field)} | {read_by} | {field.description} |")
    return "\n".join(lines) + "\n"


def _fields() -> dict[str, tuple[FieldInfo, list[str]]]:
    """Each variable with its field and the functions that read it."""
    fields: dict[str, tuple[FieldInfo, list[str]]] = {}
    for field in Settings.model_fields.values():
        if field.alias is not None:
            fields[field.alias] = (field, [])
    for function, model in MODELS.items():
        for field in model.model_fields.values():
            if field.alias is not None:
                fields.setdefault(field.alias, (field, []))[1].append(function)
    return fields


def _default(field: FieldInfo) -> str:
    """The default as in an image, where functions/ is the working directory; empty if there is none."""
    value = field.default
    if field.default_factory is not None or value in (None, "", {}, ()):
        return ""
    if isinstance(value, Path):
        value = str(value).replace(f"{FUNCTIONS}/", "").replace(tempfile.gettempdir(), "/tmp")  # noqa: S108 (only written)
    return f"`{value}`"
