"""The OpenAPI document of fetch-batch."""

from __future__ import annotations

from common.openapi import document, operation

OPENAPI = document(
    "fetch-batch",
    "Collects new data from the pipelines' sources.",
    {
        "/": {"post": operation("collect_all", "Collect now, all pipelines", "fetch_results")},
        "/{pipeline}": {
            "post": operation("collect", "Collect now, one pipeline", "fetch_results", problems=(404, 409)),
            "get": operation(
                "get_collection",
                "What is collected, what is missing, and the history",
                "fetch_status",
                problems=(404,),
            ),
        },
    },
)
