"""The documents tell settings, secrets and calls as the code has them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from classify import openapi as classify
from common import errors
from common.settings import VARIABLES
from fetch_batch import openapi as fetch_batch
from shapes import validate
from train import openapi as train

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_table_lists_every_setting_with_its_default_and_meaning() -> None:
    told = subprocess.run(
        [sys.executable, "scripts/settings-table", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    table = OPERATIONS.partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]
    assert re.findall(r"^\| `([A-Z_0-9]+)` \|", table, re.MULTILINE) == [one.name for one in VARIABLES]


def test_every_secret_that_the_code_reads_is_listed() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "functions").rglob("*.py"))
    shared = set(re.findall(r"""\bsecret\(\s*["']([a-z0-9-]+)["']""", code))
    own = set(re.findall(r"""\bown_secret\(\s*["']([a-z0-9-]+)["']""", code))
    stack = yaml.safe_load((ROOT / "stack.yml").read_text(encoding="utf-8"))["functions"]
    read = {
        name
        for function, one in stack.items()
        for name in one["secrets"]
        if name in shared or name.removeprefix(f"{function}-") in own
    }
    assert read == {name for one in stack.values() for name in one["secrets"]}
    section = OPERATIONS.split("## Secrets")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert read == {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}


EXAMPLE = re.compile(r"<!-- schema: (\w+) -->\n```json\n(.*?)```", re.DOTALL)
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("schema", "example"), EXAMPLE.findall(API), ids=lambda text: text[:20].split("\n")[0])
def test_the_examples_of_the_api_have_the_shapes_of_the_answers(schema: str, example: str) -> None:
    validate(json.loads(example), schema)


@pytest.mark.parametrize(
    "described", [fetch_batch.OPENAPI, train.OPENAPI, classify.OPENAPI], ids=lambda one: one["info"]["title"]
)
def test_the_api_tells_every_call(described: dict[str, Any]) -> None:
    headings = "\n".join(line for line in API.splitlines() if line.startswith("### "))
    for path, calls in described["paths"].items():
        for method in calls.keys() & {"get", "post", "put", "delete"}:
            told = f"`{method.upper()} {described['servers'][0]['url']}{path}`"
            assert told in headings or f"| `{method.upper()} /function/NAME{path}` |" in API


def test_the_api_tells_every_kind_of_problem() -> None:
    kinds = {
        one.kind for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.SabuesoError)
    }
    told = {
        kind
        for row in re.findall(r"^\| [45]\d\d \|(.*)\|", API, re.MULTILINE)
        for kind in re.findall(r"`([a-z-]+)`", row)
    }
    # The rest ends as a status of an execution, not as an answer.
    inner = {
        "bundle-refused",
        "source-unavailable",
        "source-exhausted",
        "too-soon",
        "training-failed",
        "conflict",
    }
    assert told == kinds - inner
