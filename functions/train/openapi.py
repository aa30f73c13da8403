"""The OpenAPI document of train."""

from __future__ import annotations

from common.describe import call, document

_FORCE = {"application/json": {"schema": {"type": "object", "properties": {"force": {"type": "boolean"}}}}}
_VERSION = {
    "application/json": {
        "schema": {"type": "object", "properties": {"version": {"type": "integer"}}, "required": ["version"]}
    }
}

OPENAPI = document(
    "train",
    "Trains a pipeline's next version and decides who serves.",
    {
        "/{pipeline}": {
            "post": call(
                "train",
                "Train now",
                "train_accepted",
                status=202,
                body=_FORCE,
                token=True,
                problems=(404, 409),
            ),
            "get": call("get_training", "The running or last execution, and history", "train_status", problems=(404,)),
        },
        "/{pipeline}/cancel": {
            "post": call("cancel", "Stop the running training", "train_status", token=True, problems=(404,))
        },
        "/{pipeline}/promote": {
            "post": call(
                "promote",
                "Let a version serve",
                "alias_moved",
                body=_VERSION,
                token=True,
                problems=(404, 409, 422),
            )
        },
        "/{pipeline}/rollback": {
            "post": call("rollback", "Back to the champion before", "alias_moved", token=True, problems=(404, 409, 422))
        },
    },
)
