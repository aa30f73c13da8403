"""An MLServer runtime: its V2 protocol, and raw routes as a custom handler (which work where it has no workers)."""
# mypy: disable-error-code="import-not-found"

from typing import Any

import numpy as np
from fastapi import Request
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.codecs.base64 import Base64Codec
from mlserver.codecs.string import StringCodec
from mlserver.handlers import custom_handler
from mlserver.types import InferenceRequest, InferenceResponse
from networks import SPEC, answer, network, picture, row


class Peer(MLModel):
    async def load(self) -> bool:
        self.network = network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0]
        if SPEC["kind"] == "image":
            probabilities = self.network(picture(Base64Codec.decode_input(given)[0]))
        else:
            probabilities = self.network(NumpyCodec.decode_input(given).astype(np.float32))
        outputs = [
            StringCodec.encode_output("label", [answer(probabilities)["label"]]),
            NumpyCodec.encode_output("probabilities", probabilities),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)

    @custom_handler(rest_path="/picture")
    async def raw_picture(self, request: Request) -> dict[str, Any]:
        return answer(self.network(picture(await request.body())))

    @custom_handler(rest_path="/row")
    async def raw_row(self, request: Request) -> dict[str, Any]:
        return answer(self.network(row(await request.json())))
