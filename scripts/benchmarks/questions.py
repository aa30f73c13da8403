"""What the servers are asked, each in its own form, and whether they answer as the bundle's network does."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from common.bundle import Bundle

# Ours rounds to six places; other runtimes compute in another order.
APART = 1e-3
ANSWER_S = 240.0
JSON, JPEG = "application/json", b"\xff\xd8"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Question:
    """One kind's input: a photograph or a row, and as the network takes it; and the network's probabilities."""

    kind: str
    pipeline: str
    contract: Mapping[str, Any]
    labels: list[str]
    body: bytes
    encoded: Array
    probabilities: Array


@dataclass(frozen=True)
class Call:
    """A question in a server's form; `read` finds the probabilities, in the labels' order or by label."""

    question: Question
    path: str
    body: bytes
    read: Callable[[Any], Any]

    @property
    def content_type(self) -> str:
        return "image/jpeg" if self.body.startswith(JPEG) else JSON

    def check(self, url: str) -> None:
        """Raises OSError, HTTPException, and ValueError for an answer that is not the network's."""
        answer = json.loads(post(url + self.path, self.body, self.content_type))
        try:
            shares = self.read(answer)
            if isinstance(shares, dict):
                shares = [shares[label] for label in self.question.labels]
            apart = float(np.abs(np.array(shares, dtype=float) - self.question.probabilities).max())
        except (LookupError, TypeError) as error:
            raise ValueError(f"no probabilities in {str(answer)[:200]}: {error}") from None
        if not apart <= APART:
            raise ValueError(
                f"it answers wrong: a probability is {apart:.4f} apart from the network's, {APART} at most"
            )


def post(url: str, body: bytes, content_type: str, accept: str = JSON) -> bytes:
    """The answer with 200, over a connection of its own. Raises OSError, HTTPException, and ValueError for another."""
    address, _, path = url.removeprefix("http://").partition("/")
    with closing(HTTPConnection(address, timeout=ANSWER_S)) as connection:
        connection.request("POST", f"/{path}", body, {"Content-Type": content_type, "Accept": accept})
        answer = connection.getresponse()
        text = answer.read()
    if answer.status != 200:
        raise ValueError(f"{answer.status} {text[:200].decode('utf-8', 'replace')}")
    return text


def read_question(pipeline: str, folder: Path, key: str, photo: Path) -> Question:
    bundle = Bundle(folder, key)
    kind, labels = bundle.contract["kind"], [label["value"] for label in bundle.contract["labels"]]
    if kind == "image":
        body = photo.read_bytes()
        encoded = bundle.encode([body])
    else:
        row = {column["name"]: column["examples"][0] for column in bundle.contract["columns"]}
        body = json.dumps(row).encode()
        encoded = bundle.encode([tuple(row.values())])
    probabilities = bundle.network.predict(encoded)[0][0]
    return Question(kind, pipeline, bundle.contract, labels, body, encoded, probabilities)


def ours(question: Question) -> Call:
    path = f"/{question.pipeline}"
    return Call(question, path, question.body, lambda answer: answer["predictions"][0]["probabilities"])


def raw(question: Question) -> Call:
    """The same as for classify."""
    return Call(question, "/predict", question.body, lambda answer: answer["probabilities"])


def v2(question: Question) -> Call:
    """The same in MLServer's V2 inference protocol."""
    text = base64.b64encode(question.body).decode()
    given = {"name": "body", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    body = json.dumps({"inputs": [{**given, "parameters": {"content_type": "base64"}}]}).encode()
    path = "/v2/models/peer/infer"
    return Call(question, path, body, lambda answer: json.loads(answer["outputs"][0]["data"][0])["probabilities"])


def mlflow(question: Question) -> Call:
    """MLflow takes neither pictures nor rows with categories: it gets the encoded numbers."""
    body = json.dumps({"inputs": question.encoded.astype(float).tolist()}).encode()
    return Call(question, "/invocations", body, lambda answer: answer["predictions"]["probabilities"][0])
