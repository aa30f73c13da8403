"""A BentoML service without metrics and access log."""
# mypy: disable-error-code="import-not-found"

from typing import Any

import bentoml
from networks import SPEC, answer, by_onnx


@bentoml.service(workers=SPEC["workers"], metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Peer:
    def __init__(self) -> None:
        self.network = by_onnx()

    @bentoml.api(route="/predict")
    def predict(self, body: bytes, /) -> dict[str, Any]:
        return answer(self.network, body)
