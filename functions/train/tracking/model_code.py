"""Joins the MLflow model and the common modules that it needs into one self-contained file."""

from __future__ import annotations

import ast
from pathlib import Path

from common.settings import FUNCTIONS

MODULES = (
    "common/redaction.py",
    "common/errors.py",
    "common/json_types.py",
    "common/documents.py",
    "common/inference/contract.py",
    "common/inference/features.py",
    "common/inference/picture_files.py",
    "common/inference/pictures.py",
    "common/inference/network.py",
    "common/inference/predictions.py",
    "train/tracking/pyfunc_model.py",
)


def _without_own_imports(source: str) -> str:
    """The module without its imports from `common`, which is in the same file, and from `__future__`."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("common", "__future__"):
            for line in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[line] = ""
    return "\n".join(lines)


def write_model_code(target: Path) -> None:
    """Write the file. Thanks to it, two versions in one process each run their own code."""
    modules = [_without_own_imports((FUNCTIONS / module).read_text(encoding="utf-8")) for module in MODULES]
    target.write_text("from __future__ import annotations\n\n" + "\n\n".join(modules) + "\n", encoding="utf-8")
