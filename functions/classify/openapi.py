"""The OpenAPI document of classify."""

from __future__ import annotations

from common.describe import call, document
from common.pictures import CONTENT_TYPES

_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
        "required": ["image"],
    }
}
_ROW = {"schema": {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}, "minItems": 1}]}}

OPENAPI = document(
    "classify",
    "Answers with the champion of each pipeline.",
    {
        "/": {"get": call("list_pipelines", "The pipelines", "classify_index")},
        "/{pipeline}": {
            "get": call("get_card", "The champion's model card", "model_card", problems=(404,)),
            "post": call(
                "classify",
                "Classify a picture, several, a row or many",
                "predictions",
                csv=True,
                query={"explain": {"schema": {"enum": ["0", "1"]}, "description": "1: each answer tells why"}},
                body={
                    **dict.fromkeys(CONTENT_TYPES, _PICTURE),
                    "multipart/form-data": _FORM,
                    "application/json": _ROW,
                    "text/csv": {"schema": {"type": "string"}},
                },
                problems=(404, 415, 422),
            ),
        },
    },
)
