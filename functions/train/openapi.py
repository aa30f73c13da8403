"""The OpenAPI document of train."""

from __future__ import annotations

from common.json_types import JsonObject
from common.openapi import document, operation

_FORCE: JsonObject = {
    "application/json": {
        "schema": {"type": "object", "properties": {"force": {"type": "boolean"}}, "additionalProperties": False}
    }
}
_VERSION: JsonObject = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {"version": {"type": "integer"}},
            "required": ["version"],
            "additionalProperties": False,
        }
    }
}

OPENAPI = document(
    "train",
    "Trains the next version and decides which version serves.",
    {
        "/{pipeline}": {
            "post": operation(
                "train",
                "Train now",
                "train_accepted",
                status=202,
                body=_FORCE,
                token=True,
                problems=(404, 409),
            ),
            "get": operation(
                "get_training", "The running or last execution, and history", "train_status", problems=(404,)
            ),
        },
        "/{pipeline}/cancel": {
            "post": operation("cancel", "Stop the running training", "train_status", token=True, problems=(404,))
        },
        "/{pipeline}/promote": {
            "post": operation(
                "promote",
                "Promote a version to champion",
                "alias_moved",
                body=_VERSION,
                body_required=True,
                token=True,
                problems=(404, 409, 422),
            )
        },
        "/{pipeline}/rollback": {
            "post": operation(
                "rollback", "Roll back to the previous champion", "alias_moved", token=True, problems=(404, 409, 422)
            )
        },
    },
)
