"""The documents list settings, secrets and calls as they are in the code; generated files are up to date."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from classify import errors as classify_errors
from classify import openapi as classify
from common import errors
from common.settings import variables
from contract.pages import read_page
from fetch_batch import errors as fetch_batch_errors
from fetch_batch import openapi as fetch_batch
from generation.limits_table import SETTINGS
from generation.pipeline_schema import pipeline_schema
from generation.sections import replaced
from generation.settings_table import MODELS, settings_table
from shapes import validate
from train import errors as train_errors
from train import openapi as train

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = [*(ROOT / "functions" / "pipelines").glob("*.toml"), *(ROOT / "tests" / "pipelines").glob("*.toml")]


def test_generated_files_are_up_to_date() -> None:
    done = subprocess.run(["scripts/generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_lists_every_setting_with_its_readers() -> None:
    rows = re.findall(r"^\| `([A-Z_0-9]+)` \| .*? \| (.*?) \| ", settings_table(), re.MULTILINE)
    for function, model in MODELS.items():
        listed = {name for name, readers in rows if readers == "all" or f"`{function}`" in readers}
        assert listed == variables(model).keys()
    assert len(rows) == len(dict(rows))


def test_the_table_replaces_only_the_text_between_its_markers() -> None:
    page = replaced("before\n<!-- limits -->\nold\n<!-- /limits -->\nafter\n", "limits", "new\n")
    assert page == "before\n<!-- limits -->\nnew\n<!-- /limits -->\nafter\n"
    with pytest.raises(ValueError, match="limits"):
        replaced("a page without markers", "limits", "new")


def test_the_table_of_limits_lists_every_limit_of_classify() -> None:
    limits = {name for name in MODELS["classify"].model_fields if name.startswith("max_")}
    assert limits <= SETTINGS.keys()


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.stem)
def test_pipeline_files_match_the_schema_for_editors(file: Path) -> None:
    schema = json.loads(pipeline_schema())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    raw = tomllib.loads(file.read_text(encoding="utf-8"))
    assert validator.is_valid(raw)
    assert not validator.is_valid({**raw, "unknown": 1})
    assert not validator.is_valid({**raw, "source": {**raw["source"], "min_interval_s": -1}})


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
    section = read_page("secrets-and-accounts.md").split("## Secrets")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert read == {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}


EXAMPLE = re.compile(r"<!-- schema: (\w+) -->\n```json\n(.*?)```", re.DOTALL)
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("schema", "example"), EXAMPLE.findall(API), ids=lambda text: text[:20].split("\n")[0])
def test_the_examples_of_the_api_match_the_schemas(schema: str, example: str) -> None:
    validate(json.loads(example), schema)


@pytest.mark.parametrize(
    "described", [fetch_batch.OPENAPI, train.OPENAPI, classify.OPENAPI], ids=lambda one: one["info"]["title"]
)
def test_the_api_lists_every_call(described: dict[str, Any]) -> None:
    headings = "\n".join(line for line in API.splitlines() if line.startswith("### "))
    for path, calls in described["paths"].items():
        for method in calls.keys() & {"get", "post", "put", "delete"}:
            heading = f"`{method.upper()} {described['servers'][0]['url']}{path}`"
            assert heading in headings or f"| `{method.upper()} /function/NAME{path}` |" in API


def test_the_api_lists_every_kind_of_problem() -> None:
    modules = (errors, classify_errors, fetch_batch_errors, train_errors)
    values = [value for module in modules for value in vars(module).values()]
    kinds = {value.kind for value in values if isinstance(value, type) and issubclass(value, errors.SabuesoError)}
    listed = {
        kind
        for row in re.findall(r"^\| [45]\d\d \|(.*)\|", API, re.MULTILINE)
        for kind in re.findall(r"`([a-z-]+)`", row)
    }
    # The others become a status of an execution, not an answer.
    internal = {
        "bundle-refused",
        "source-unavailable",
        "source-exhausted",
        "too-soon",
        "training-failed",
        "conflict",
    }
    assert listed == kinds - internal
