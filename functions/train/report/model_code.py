"""Joins the common modules a version needs and the MLflow model into one self-contained file."""

from __future__ import annotations

import ast
from pathlib import Path

FUNCTIONS = Path(__file__).resolve().parents[2]
MODULES = (
    *("common/errors.py", "common/features.py", "common/pictures.py", "common/network.py"),
    "train/report/pyfunc_model.py",
)


def _without_joins(source: str) -> str:
    """The module without its imports of common and of __future__ (those stand once, on top)."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("common", "__future__"):
            for line in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[line] = ""
    return "\n".join(lines)


def write_model_code(target: Path) -> None:
    """Write the file. Two versions loaded in one process then each run their own code."""
    parts = [_without_joins((FUNCTIONS / module).read_text(encoding="utf-8")) for module in MODULES]
    target.write_text("from __future__ import annotations\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")
