"""A fake gateway: it serves the real static site and answers calls to classify with sample answers."""

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

from browser import sample_answers

SITE = Path(__file__).resolve().parents[2] / "static-site"


@dataclass(frozen=True)
class ReceivedPost:
    pipeline: str
    content_type: str
    body: bytes
    query: str


class FakeGateway:
    """Tests change its attributes to change its answers."""

    def __init__(self) -> None:
        self.received: list[ReceivedPost] = []
        self.index = sample_answers.index()
        self.cards = {name: sample_answers.model_card(name) for name in ("pets", "covertype")}
        self.answers = {name: sample_answers.predictions(name) for name in ("pets", "covertype")}
        self.explanations = {name: sample_answers.explanation(name) for name in ("pets", "covertype")}
        self.post_error: Callable[[], Response] | None = None
        self.unavailable_cards: set[str] = set()  # pipelines whose model card answers 404 in plain text
        self.requested_cards: list[str] = []
        self.html_replacements: dict[str, str] = {}
        self._posts_released = threading.Event()
        self._posts_released.set()
        self._server = make_server("127.0.0.1", 0, create_app(self), threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def fail_posts(
        self, status: int, detail: str, errors: list[Any] | None = None, retry_after: str | None = None
    ) -> None:
        """Answers every POST with a problem document."""
        document = sample_answers.problem(status, detail, errors)
        self.post_error = lambda: problem_response(document, retry_after)

    def hold_posts(self) -> None:
        """Answers no POST until `release_posts`."""
        self._posts_released.clear()

    def release_posts(self) -> None:
        self._posts_released.set()

    def wait_until_released(self) -> None:
        self._posts_released.wait(60)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release_posts()
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()


def problem_response(document: sample_answers.Document, retry_after: str | None = None) -> Response:
    response = jsonify(document)
    response.status_code = document["status"]
    response.content_type = "application/problem+json"
    if retry_after is not None:
        response.headers["Retry-After"] = retry_after
    return response


def create_app(gateway: FakeGateway) -> Flask:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Flask("gateway", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the form follows the order of the columns

    @app.get("/function/classify")
    def index() -> Response:
        return jsonify(gateway.index)

    @app.get("/function/classify/<pipeline>")
    def model_card(pipeline: str) -> Response:
        gateway.requested_cards.append(pipeline)
        if pipeline in gateway.unavailable_cards:
            return Response("error finding function classify", 404)
        if pipeline in gateway.cards:
            return jsonify(gateway.cards[pipeline])
        return problem_response(sample_answers.problem(503, f"{pipeline} has no champion yet"), retry_after="15")

    @app.post("/function/classify/<pipeline>")
    def classify(pipeline: str) -> Response:
        query = request.query_string.decode()
        gateway.received.append(ReceivedPost(pipeline, request.content_type or "", request.get_data(), query))
        gateway.wait_until_released()
        if gateway.post_error:
            return gateway.post_error()
        answer = gateway.answers[pipeline]
        if query == "explain=1":
            answer = sample_answers.explained(answer, gateway.explanations[pipeline])
        return jsonify(answer)

    @app.get("/")
    @app.get("/<path:name>")
    def site(name: str = "index.html") -> Response:
        if name != "index.html" or not gateway.html_replacements:
            # Not streamed: a browser that closes would leave the file open.
            body = (SITE / name).read_bytes() if (SITE / name).is_file() else abort(404)
            return Response(body, mimetype=mimetypes.guess_type(name)[0])
        page = (SITE / name).read_text(encoding="utf-8")
        for old, new in gateway.html_replacements.items():
            assert old in page
            page = page.replace(old, new)
        return Response(page, mimetype="text/html")

    return app
