"""A local gateway with OpenFaaS's paths, and the site on the same origin."""

from __future__ import annotations

import queue
import secrets
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

import requests
from flask import Flask, Response, request, send_from_directory

from local.stack import ROOT, Function

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
TIMEOUT_S = 65
# As in OpenFaaS's community edition: a larger async body gets 500.
MAX_ASYNC = 256_000
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}


def create_gateway(functions: Mapping[str, Function], ports: Mapping[str, int]) -> Flask:
    """The Flask app: /function/NAME/..., /async-function/NAME/..., /system/functions, and static-site/ at /."""
    app = Flask("gateway", static_folder=None)
    app.url_map.redirect_defaults = False
    app.url_map.strict_slashes = False
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=32))
    invocations: Counter[str] = Counter()
    waiting: queue.Queue[tuple[str, str, str, bytes, dict[str, str], str]] = queue.Queue()

    def call(name: str, path: str, method: str, body: bytes, headers: dict[str, str], query: str) -> Response:
        if name not in functions:  # the caller of an async call got 202 before
            return Response(f"error finding function {name}\n", 404, mimetype="text/plain")
        invocations[name] += 1
        url = f"http://127.0.0.1:{ports[name]}/{path}{'?' + query if query else ''}"
        try:
            answer = session.request(method, url, data=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False)
        except requests.RequestException as error:
            return Response(f"{name} can't be reached: {type(error).__name__}\n", 502, mimetype="text/plain")
        kept = [(key, value) for key, value in answer.headers.items() if key.lower() not in HOP_BY_HOP]
        return Response(answer.content, answer.status_code, kept)

    def work() -> None:
        while True:  # one call at a time, as the queue-worker of the community edition
            call(*waiting.get())

    threading.Thread(target=work, name="queue-worker", daemon=True).start()

    def headers_of(call_id: str) -> dict[str, str]:
        kept = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
        kept.setdefault("X-Call-Id", call_id)
        kept.setdefault("X-Forwarded-For", request.remote_addr or "")
        return kept

    @app.route("/function/<name>", defaults={"path": ""}, methods=METHODS)
    @app.route("/function/<name>/<path:path>", methods=METHODS)
    def sync_function(name: str, path: str) -> Response:
        headers = headers_of(secrets.token_hex(8))
        return call(name, path, request.method, request.get_data(), headers, request.query_string.decode())

    @app.route("/async-function/<name>", defaults={"path": ""}, methods=METHODS)
    @app.route("/async-function/<name>/<path:path>", methods=METHODS)
    def async_function(name: str, path: str) -> Response:
        if request.method != "POST":
            return Response("async calls are POST\n", 405, {"Allow": "POST"}, mimetype="text/plain")
        body = request.get_data()
        if len(body) > MAX_ASYNC:
            return Response(f"an async body may have at most {MAX_ASYNC} bytes\n", 500, mimetype="text/plain")
        headers = headers_of(secrets.token_hex(8))
        waiting.put((name, path, "POST", body, headers, request.query_string.decode()))
        return Response(status=202, headers={"X-Call-Id": headers["X-Call-Id"]})

    @app.get("/system/functions")
    def listed() -> list[dict[str, Any]]:
        return [
            {
                "name": function.name,
                "image": function.image,
                "namespace": "openfaas-fn",
                "replicas": 1,
                "availableReplicas": 1,
                "invocationCount": invocations[function.name],
                "annotations": function.annotations,
                "labels": function.labels,
            }
            for function in functions.values()
        ]

    @app.get("/healthz")
    def healthz() -> str:
        return "OK"

    @app.get("/", defaults={"path": "index.html"})
    @app.get("/<path:path>")
    def site(path: str) -> Response:
        return send_from_directory(ROOT / "static-site", path)

    return app
