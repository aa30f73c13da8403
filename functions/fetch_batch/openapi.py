"""The OpenAPI document of fetch-batch."""

from __future__ import annotations

from common.describe import call, document

OPENAPI = document(
    "fetch-batch",
    "Collects what the pipelines' sources give out.",
    {
        "/": {"post": call("collect_all", "Collect now, all pipelines", "fetch_results")},
        "/{pipeline}": {
            "post": call("collect", "Collect now, one pipeline", "fetch_results", problems=(404, 409)),
            "get": call(
                "get_collection",
                "What is collected, what is missing, and the history",
                "fetch_status",
                problems=(404,),
            ),
        },
    },
)
