"""A proxy in front of MLflow: one of its calls can be the moment at which a job is killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import requests
from flask import Flask, Response, request


@dataclass(frozen=True)
class Moment:
    """When a job is killed.

    kind `time`: after `share` of the seconds of a whole training. `stage`: `share` seconds after the stage `what`
    began. `before`, `after`: at the `turn`-th call `what` of MLflow, which is forwarded only for `after`; the job gets
    no usable answer in either case.
    """

    kind: str
    what: str = ""
    share: float = 0.0
    turn: int = 1


NEVER = Moment("never")


class MlflowProxy:
    """Forwards the calls of a job to MLflow, and kills the job at the armed moment."""

    def __init__(self, target: str) -> None:
        self.target, self.moment = target, NEVER
        self.kill: Callable[[], None] = lambda: None
        self.forwarded: list[str] = []
        self.fired = threading.Event()
        self.app = Flask("mlflow-proxy")
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        self.app.add_url_rule("/<path:path>", view_func=self._forward, methods=methods)

    def arm(self, moment: Moment, kill: Callable[[], None]) -> None:
        self.moment, self.kill = moment, kill
        self.forwarded.clear()
        self.fired.clear()

    def disarm(self) -> None:
        self.arm(NEVER, lambda: None)

    def _is_due(self, kind: str, call: str) -> bool:
        is_armed = (self.moment.kind, self.moment.what) == (kind, call) and not self.fired.is_set()
        return is_armed and self.forwarded.count(call) == self.moment.turn - (kind == "before")

    def _fire(self) -> None:
        self.kill()
        self.fired.set()

    def _forward(self, path: str) -> Response:
        name = path.partition("api/2.0/")[2].removeprefix("mlflow/")
        call = f"{request.method} {'artifacts' if name.startswith('mlflow-artifacts/') else name}"
        if self._is_due("before", call):
            self._fire()
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
        self.forwarded.append(call)
        if self._is_due("after", call):
            self._fire()
        return Response(answer.content, answer.status_code, {"Content-Type": answer.headers.get("Content-Type", "")})
