"""Contracts of ours for import-linter; [tool.importlinter] in pyproject.toml names them."""
