"""An MLServer runtime: its own route, and the V2 protocol, which its workers need."""
# mypy: disable-error-code="import-not-found"

import json
from typing import Any

from fastapi import Request
from mlserver import MLModel
from mlserver.codecs.base64 import Base64Codec
from mlserver.codecs.string import StringCodec
from mlserver.handlers import custom_handler
from mlserver.types import InferenceRequest, InferenceResponse
from networks import answer, by_onnx


class Peer(MLModel):
    async def load(self) -> bool:
        self.network = by_onnx()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        text = json.dumps(answer(self.network, Base64Codec.decode_input(payload.inputs[0])[0]))
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("answer", [text])])

    @custom_handler(rest_path="/predict")
    async def predict_raw(self, request: Request) -> dict[str, Any]:
        return answer(self.network, await request.body())
