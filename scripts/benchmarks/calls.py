"""The calls to each server, in its own format, and the check that it answers as the bundle's network does."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from common.inference.bundle import Bundle
from common.inference.contract import Contract

# Ours rounds to six digits; other runtimes compute in another order.
MAX_DIFFERENCE = 1e-3
ANSWER_S = 240.0
JSON, JPEG = "application/json", b"\xff\xd8"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """A photograph or a row: the body to send, its encoded form, and the network's probabilities for it."""

    kind: str
    pipeline: str
    contract: Contract
    labels: list[str]
    body: bytes
    encoded: Array
    probabilities: Array


@dataclass(frozen=True)
class Call:
    """A case in a server's format. `read` gets the probabilities from an answer, in the labels' order or by label."""

    case: Case
    path: str
    body: bytes
    read: Callable[[Any], Any]

    @property
    def content_type(self) -> str:
        return "image/jpeg" if self.body.startswith(JPEG) else JSON

    def check(self, url: str) -> None:
        """Raises OSError or HTTPException, or ValueError if the answer is not the network's."""
        answer = json.loads(post(url + self.path, self.body, self.content_type))
        try:
            shares = self.read(answer)
            if isinstance(shares, dict):
                shares = [shares[label] for label in self.case.labels]
            difference = float(np.abs(np.array(shares, dtype=float) - self.case.probabilities).max())
        except (LookupError, TypeError) as error:
            raise ValueError(f"no probabilities in {str(answer)[:200]}: {error}") from None
        if not difference <= MAX_DIFFERENCE:
            raise ValueError(f"wrong answer: a probability differs by {difference:.4f}; {MAX_DIFFERENCE} is allowed")


def post(url: str, body: bytes, content_type: str, accept: str = JSON) -> bytes:
    """The body of a 200 answer, over a new connection. Raises OSError, HTTPException; ValueError for other statuses."""
    address, _, path = url.removeprefix("http://").partition("/")
    with closing(HTTPConnection(address, timeout=ANSWER_S)) as connection:
        connection.request("POST", f"/{path}", body, {"Content-Type": content_type, "Accept": accept})
        answer = connection.getresponse()
        text = answer.read()
    if answer.status != 200:
        raise ValueError(f"{answer.status} {text[:200].decode('utf-8', 'replace')}")
    return text


def read_case(pipeline: str, folder: Path, key: str, photo: Path) -> Case:
    bundle = Bundle(folder, key)
    contract = bundle.contract
    if contract.kind == "image":
        body = photo.read_bytes()
        encoded = bundle.encode([body])
    else:
        row = {column.name: column.examples[0] for column in contract.columns}
        body = json.dumps(row).encode()
        encoded = bundle.encode([tuple(row.values())])
    probabilities = bundle.network.predict(encoded)[0][0]
    return Case(contract.kind, pipeline, contract, contract.label_values, body, encoded, probabilities)


def ours(case: Case) -> Call:
    path = f"/{case.pipeline}"
    return Call(case, path, case.body, lambda answer: answer["predictions"][0]["probabilities"])


def raw(case: Case) -> Call:
    """The same body as for classify."""
    return Call(case, "/predict", case.body, lambda answer: answer["probabilities"])


def v2(case: Case) -> Call:
    """The same body in MLServer's V2 inference protocol."""
    text = base64.b64encode(case.body).decode()
    given = {"name": "body", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    body = json.dumps({"inputs": [{**given, "parameters": {"content_type": "base64"}}]}).encode()
    path = "/v2/models/peer/infer"
    return Call(case, path, body, lambda answer: json.loads(answer["outputs"][0]["data"][0])["probabilities"])


def mlflow(case: Case) -> Call:
    """MLflow accepts neither pictures nor rows with categories, so it gets the encoded numbers."""
    body = json.dumps({"inputs": case.encoded.astype(float).tolist()}).encode()
    return Call(case, "/invocations", body, lambda answer: answer["predictions"]["probabilities"][0])
