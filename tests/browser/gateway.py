"""A stand-in for the gateway: the real static site, and classify's calls answered from documents."""

import logging
import mimetypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flask import Flask, Response, abort, jsonify, request
from werkzeug.serving import make_server

from browser import documents

SITE = Path(__file__).resolve().parents[2] / "static-site"


@dataclass(frozen=True)
class Received:
    pipeline: str
    content_type: str
    body: bytes
    query: str


class Gateway:
    """What it answers can be changed by a test: `index`, `cards`, `answers`, `explanations`, `refuse`, `hold`, ..."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.index = documents.index()
        self.cards = {name: documents.card(name) for name in ("pets", "covertype")}
        self.answers = {name: documents.predictions(name) for name in ("pets", "covertype")}
        self.explanations = {name: documents.explanation(name) for name in ("pets", "covertype")}
        self.refusal: Callable[[], Response] | None = None
        self.away: set[str] = set()  # pipelines whose card is asked for in vain
        self.asked: list[str] = []
        self.metas: dict[str, str] = {}
        self.release = threading.Event()
        self.release.set()
        self.server = make_server("127.0.0.1", 0, application(self), threaded=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def refuse(self, status: int, detail: str, errors: list[Any] | None = None, retry_after: str | None = None) -> None:
        """Every POST from now on gets this problem document."""
        document = documents.problem(status, detail, errors)
        self.refusal = lambda: problem_answer(document, retry_after)

    def hold(self) -> None:
        """Every POST from now on waits until `release` is set."""
        self.release.clear()

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self.server.shutdown()
        self.thread.join(30)
        self.server.server_close()


def problem_answer(document: documents.Document, retry_after: str | None = None) -> Response:
    answer = jsonify(document)
    answer.status_code = document["status"]
    answer.content_type = "application/problem+json"
    if retry_after is not None:
        answer.headers["Retry-After"] = retry_after
    return answer


def application(gateway: Gateway) -> Flask:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Flask("gateway", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the form follows the order of the columns

    @app.get("/function/classify")
    def index() -> Response:
        return jsonify(gateway.index)

    @app.get("/function/classify/<pipeline>")
    def card(pipeline: str) -> Response:
        gateway.asked.append(pipeline)
        if pipeline in gateway.away:
            return Response("error finding function classify", 404)
        if pipeline in gateway.cards:
            return jsonify(gateway.cards[pipeline])
        return problem_answer(documents.problem(503, f"{pipeline} has no champion yet"), retry_after="15")

    @app.post("/function/classify/<pipeline>")
    def classify(pipeline: str) -> Response:
        query = request.query_string.decode()
        gateway.received.append(Received(pipeline, request.content_type or "", request.get_data(), query))
        gateway.release.wait(60)
        if gateway.refusal:
            return gateway.refusal()
        answer = gateway.answers[pipeline]
        return jsonify(documents.explained(answer, gateway.explanations[pipeline]) if query == "explain=1" else answer)

    @app.get("/")
    @app.get("/<path:name>")
    def site(name: str = "index.html") -> Response:
        if name != "index.html" or not gateway.metas:
            # Whole: a browser that is closed leaves no file open.
            body = (SITE / name).read_bytes() if (SITE / name).is_file() else abort(404)
            return Response(body, mimetype=mimetypes.guess_type(name)[0])
        page = (SITE / name).read_text(encoding="utf-8")
        for old, new in gateway.metas.items():
            assert old in page
            page = page.replace(old, new)
        return Response(page, mimetype="text/html")

    @app.after_request
    def another_origin(answer: Response) -> Response:
        if request.headers.get("Origin"):
            answer.headers["Access-Control-Allow-Origin"] = "*"
            answer.headers["Access-Control-Allow-Headers"] = "Content-Type"
        return answer

    return app
