"""The OpenAPI document of classify."""

from __future__ import annotations

from common.inference.picture_files import CONTENT_TYPES
from common.json_types import JsonObject
from common.openapi import document, operation

_PICTURE: JsonObject = {"schema": {"type": "string", "format": "binary"}}
_FORM: JsonObject = {
    "schema": {
        "type": "object",
        "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}},
        "required": ["image"],
    },
    "encoding": {"image": {"contentType": ", ".join(CONTENT_TYPES)}},
}
_ROW: JsonObject = {
    "schema": {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}, "minItems": 1}]}
}

OPENAPI = document(
    "classify",
    "Answers with the champion of each pipeline.",
    {
        "/": {"get": operation("list_pipelines", "The pipelines", "classify_index")},
        "/{pipeline}": {
            "get": operation("get_card", "The champion's model card", "model_card", problems=(404,)),
            "post": operation(
                "classify",
                "Classify one or more pictures or rows",
                "predictions",
                csv=True,
                query={
                    "explain": {
                        "schema": {"enum": ["0", "1"]},
                        "description": "1: with an explanation of each prediction",
                    }
                },
                body={
                    **dict.fromkeys(CONTENT_TYPES, _PICTURE),
                    "multipart/form-data": _FORM,
                    "application/json": _ROW,
                    "text/csv": {"schema": {"type": "string"}},
                },
                body_required=True,
                problems=(404, 415, 422),
            ),
        },
    },
)
