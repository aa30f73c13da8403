"""The model card of a champion: what it takes, how good it is, what it was trained on."""

from __future__ import annotations

from typing import Any

from classify.champions import Champion, Slot
from common.pictures import CONTENT_TYPES
from common.settings import Settings


def model_card(name: str, champion: Champion, slot: Slot, settings: Settings) -> dict[str, Any]:
    """The answer of GET classify/<pipeline>."""
    contract = champion.bundle.contract
    return {
        "pipeline": name,
        "kind": contract["kind"],
        "title": contract["title"],
        "model": {"name": name, "version": champion.version},
        "labels": contract["labels"],
        "input": _input(contract, settings),
        "metrics": contract["metrics"],
        "per_class": contract["per_class"],
        "thresholds": contract["thresholds"],
        "trained_at": contract["trained_at"],
        "snapshot": contract["snapshot"],
        "examples": contract["examples"],
        "made_up": contract["made_up"],
        "stale_since": slot.stale_since,
    }


def _input(contract: dict[str, Any], settings: Settings) -> dict[str, Any]:
    if contract["kind"] == "image":
        return {
            "kind": "image",
            "content_types": list(CONTENT_TYPES),
            "max_bytes": settings.max_body,
        }
    return {
        "kind": "tabular",
        "schema": {
            "type": "object",
            "properties": {column["name"]: _property(column) for column in contract["columns"]},
            "required": [column["name"] for column in contract["columns"]],
            "additionalProperties": False,
        },
    }


def _property(column: dict[str, Any]) -> dict[str, Any]:
    number = column["type"] == "number"
    found: dict[str, Any] = {"type": "number" if number else "string", "title": column["title"]}
    names = {
        "min": "minimum",
        "max": "maximum",
        "unit": "unit",
        "cyclic": "x-cyclic",
        "values": "enum",
        "examples": "examples",
    }
    found |= {told: column[key] for key, told in names.items() if key in column}
    if not number and "values" not in column:
        found["x-known"] = column["known"]
    return found
