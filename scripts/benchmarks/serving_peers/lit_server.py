"""A LitServe server; options `workers_per_device`, `fast_queue`, `num_api_servers`, `timeout`, `log_level`."""
# mypy: disable-error-code="import-not-found"

from typing import Annotated, Any

import litserve
from fastapi import Body
from networks import OPTIONS, PORT, SPEC, answer, network, picture, row


class Peer(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.network = network()

    def predict(self, x: Any) -> Any:
        return self.network(x)

    def encode_response(self, output: Any) -> Any:
        return answer(output)


class Picture(Peer):
    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]) -> Any:
        return picture(request)


class Row(Peer):
    def decode_request(self, request: list[float]) -> Any:
        return row(request)


if __name__ == "__main__":
    image = SPEC["kind"] == "image"
    api = Picture(api_path="/picture") if image else Row(api_path="/row")
    wanted = {name: OPTIONS[name] for name in ("workers_per_device", "fast_queue", "timeout") if name in OPTIONS}
    running = {name: OPTIONS[name] for name in ("num_api_servers", "log_level") if name in OPTIONS}
    server = litserve.LitServer(api, accelerator="cpu", **wanted)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, **running)
