"""Validates against JSON Schemas: those of the functions' answers, and those of other documents."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from common.openapi import schemas

OTHERS = Path(__file__).parent / "contract" / "schemas"


def validate(body: Any, name: str) -> None:
    """Raises ValidationError if the body does not match the JSON Schema of that name."""
    file = OTHERS / f"{name}.json"
    answer_schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas()}}
    schema = json.loads(file.read_text()) if file.exists() else answer_schema
    jsonschema.Draft202012Validator(schema).validate(body)
