"""Writes what is generated from the code, or with --check reports what is stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from generation.limits_table import limits_table
from generation.pipeline_schema import pipeline_schema
from generation.sections import replaced
from generation.settings_table import settings_table

ROOT = Path(__file__).resolve().parents[2]
# The pages with a generated table, by the name of its markers.
PAGES = {
    "settings": (ROOT / "docs" / "settings.md", settings_table),
    "limits": (ROOT / "docs" / "api.md", limits_table),
}
SCHEMA = ROOT / "functions" / "pipelines" / "schema.json"


def generated() -> Iterator[tuple[Path, str]]:
    """Each generated file with its fresh text. Raises ValueError if a page has no place for its table."""
    yield SCHEMA, pipeline_schema()
    for name, (page, table) in PAGES.items():
        yield page, replaced(page.read_text(encoding="utf-8"), name, table())


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    arguments = parser.parse_args(argv)
    is_stale = False
    for path, text in generated():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        name = path.relative_to(ROOT)
        if arguments.check:
            is_stale = True
            print(f"scripts/generate: {name} is stale; run scripts/generate", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return int(is_stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
