"""The JSON Schema of a pipeline file, with which editors complete and check its keys."""

from __future__ import annotations

import json
from typing import Any

from common.pipelines import Pipeline

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# pydantic leaves these names on unions, where JSON Schema has others.
KEYWORDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


def pipeline_schema() -> str:
    schema = {"$schema": DIALECT, **_renamed(Pipeline.model_json_schema())}
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _renamed(node: Any) -> Any:
    if isinstance(node, dict):
        return {KEYWORDS.get(key, key): _renamed(value) for key, value in node.items()}
    return [_renamed(item) for item in node] if isinstance(node, list) else node
