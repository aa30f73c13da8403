"""JSON Schemas: of the functions' answers, as openapi.json tells them, and of what is written elsewhere."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from common.describe import schemas

OTHERS = Path(__file__).parent / "contract" / "schemas"


def validate(body: Any, name: str) -> None:
    """The body keeps the JSON Schema of that name."""
    other = OTHERS / f"{name}.json"
    answers = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas()}}
    shape = json.loads(other.read_text()) if other.exists() else answers
    jsonschema.Draft202012Validator(shape).validate(body)
