"""SECURITY.md names every secret, what it can do, and only secrets that exist."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from deployment.secret_values import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ENV = (ROOT / "infra" / ".env.example").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text(encoding="utf-8"))
STACK = yaml.safe_load((ROOT / "stack.yml").read_text(encoding="utf-8"))
# Read by scripts/deploy, never written into infra/.env.
ELSEWHERE = {"OPENFAAS_PASSWORD"}


def rows() -> list[list[str]]:
    """The cells of the table of secrets."""
    table = PAGE.partition("## What a stolen secret can do")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def named(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_every_secret_of_the_functions_has_a_row_beside_its_variable() -> None:
    secrets = {name for function in STACK["functions"].values() for name in function["secrets"]}
    listed = {name: named(row[1]) for row in rows() for name in named(row[0])}
    assert secrets <= listed.keys()
    for name in secrets:
        assert VARIABLES[name][0] in listed[name], name


def test_every_secret_variable_has_a_row() -> None:
    secrets = set(re.findall(r"^([A-Z0-9_]+)=CHANGE-ME$", ENV, re.MULTILINE))
    secrets |= {secret["environment"] for secret in COMPOSE["secrets"].values()}
    secrets |= {variable for variable, _ in VARIABLES.values()}
    assert len(secrets) > 12
    assert set().union(*(named(row[1]) for row in rows())) == secrets | ELSEWHERE


def test_every_row_says_what_the_secret_can_do() -> None:
    for row in rows():
        assert len(row) == 4, row
        assert len(row[2]) > 10, row[0]


def test_every_part_of_the_system_is_in_the_picture() -> None:
    table = PAGE.partition("## Who reaches what")[2].partition("\n## ")[0].lower()
    for part in [*STACK["functions"], *(COMPOSE["services"].keys() - {"accounts"}), "gateway", "cron"]:
        assert part in table, part


def test_the_page_is_linked_where_readers_look() -> None:
    for page in ("README.md", "LEEME.md", "docs/README.md"):
        assert "SECURITY.md" in (ROOT / page).read_text(encoding="utf-8"), page


def test_a_new_vulnerability_of_a_package_does_not_stop_main() -> None:
    workflows = ROOT / ".github" / "workflows"
    assert "--ignore=tests/nightly/test_audit.py" in (workflows / "ci.yml").read_text(encoding="utf-8")
    audit = yaml.safe_load((workflows / "audit.yml").read_text(encoding="utf-8"))
    assert audit["permissions"] == {}
    assert set(audit[True]) == {"schedule", "workflow_dispatch"}  # YAML reads the key `on` as true
