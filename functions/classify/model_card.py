"""The model card of a champion: what it takes, how good it is, what it was trained on.

Its metrics are the fields of `Metrics` (common/inference/contract.py).
"""

from __future__ import annotations

from classify.champions import Champion, PipelineState
from common.inference.contract import Contract, ContractColumn
from common.inference.features import MAX_TEXT
from common.inference.picture_files import CONTENT_TYPES
from common.json_types import Json
from common.settings import Settings

JSON_SCHEMA_KEYS = {
    "min": "minimum",
    "max": "maximum",
    "unit": "unit",
    "cyclic": "x-cyclic",
    "values": "enum",
    "examples": "examples",
}
# Not only white space, as Python knows it: for regular expressions of JSON Schema (ECMA-262) some of it is none.
NOT_BLANK = r"[^\s\x1c-\x1f\x85]"


def model_card(name: str, champion: Champion, state: PipelineState, settings: Settings) -> dict[str, Json]:
    """The answer of GET classify/<pipeline>."""
    contract = champion.bundle.contract
    document = contract.unsigned()
    as_in_contract = ("kind", "title", "labels", "metrics", "per_class", "thresholds", "trained_at", "snapshot")
    return {
        "pipeline": name,
        "model": {"name": name, "version": champion.version},
        "input": _input(contract, settings),
        **{key: document[key] for key in (*as_in_contract, "examples", "made_up")},
        "stale_since": state.stale_since,
    }


def _input(contract: Contract, settings: Settings) -> dict[str, Json]:
    if contract.kind == "image":
        return {"kind": "image", "content_types": list(CONTENT_TYPES), "max_bytes": settings.max_body}
    return {
        "kind": "tabular",
        "schema": {
            "type": "object",
            "properties": {column.name: _property(column) for column in contract.columns},
            "required": [column.name for column in contract.columns],
            "additionalProperties": False,
        },
    }


def _property(column: ContractColumn) -> dict[str, Json]:
    """The JSON Schema of a column."""
    is_number = column.type == "number"
    schema: dict[str, Json] = {"type": "number" if is_number else "string", "title": column.title.model_dump()}
    given = column.model_dump(exclude_none=True)
    schema |= {there: given[here] for here, there in JSON_SCHEMA_KEYS.items() if here in given}
    if not is_number and column.values is None:
        schema |= {"minLength": 1, "maxLength": MAX_TEXT, "pattern": NOT_BLANK, "x-known": column.known}
    return schema
