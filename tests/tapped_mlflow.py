"""A tap in front of MLflow: one of its calls can be the moment at which a job dies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import requests
from flask import Flask, Response, request


@dataclass(frozen=True)
class Moment:
    """When a job is killed. kind `time`: at that share of a whole training. `stage`: that share of a second after one.

    `before`, `after`: at the `turn`-th call of that kind of MLflow, which is carried out only in the second case; in
    neither the job hears of it.
    """

    kind: str
    what: str = ""
    share: float = 0.0
    turn: int = 1


class Tap:
    """Stands between the job and MLflow: a call can be the moment at which the job dies."""

    def __init__(self, target: str) -> None:
        self.target, self.moment = target, Moment("never")
        self.kill: Callable[[], None] = lambda: None
        self.passed: list[str] = []
        self.fired = threading.Event()
        self.app = Flask("tap")
        self.app.add_url_rule("/<path:path>", view_func=self._pass, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])

    def arm(self, moment: Moment, kill: Callable[[], None]) -> None:
        self.moment, self.kill = moment, kill
        self.passed.clear()
        self.fired.clear()

    def _is_it(self, kind: str, call: str) -> bool:
        wanted = (self.moment.kind, self.moment.what) == (kind, call) and not self.fired.is_set()
        return wanted and self.passed.count(call) == self.moment.turn - (kind == "before")

    def _pass(self, path: str) -> Response:
        place = path.partition("api/2.0/")[2].removeprefix("mlflow/")
        call = f"{request.method} {'artifacts' if place.startswith('mlflow-artifacts/') else place}"
        if self._is_it("before", call):
            self.kill()
            self.fired.set()
            return Response(status=503)
        headers = {key: text for key, text in request.headers if key.lower() not in ("host", "content-length")}
        answer = requests.request(
            request.method,
            f"{self.target}/{path}",
            params=list(request.args.items(multi=True)),
            data=request.get_data(),
            headers=headers,
            timeout=60,
        )
        self.passed.append(call)
        if self._is_it("after", call):
            self.kill()
            self.fired.set()
        return Response(answer.content, answer.status_code, {"Content-Type": answer.headers.get("Content-Type", "")})
