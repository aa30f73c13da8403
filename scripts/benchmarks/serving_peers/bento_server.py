"""A BentoML service; options `workers`, `threads`, `quiet` (neither metrics nor access log)."""
# mypy: disable-error-code="import-not-found"

from typing import Any

import bentoml
from networks import OPTIONS, answer, network, picture, row

CONFIGURATION: dict[str, Any] = {name: OPTIONS[name] for name in ("workers", "threads") if name in OPTIONS}
if OPTIONS.get("quiet"):
    CONFIGURATION |= {"metrics": {"enabled": False}, "logging": {"access": {"enabled": False}}}


@bentoml.service(**CONFIGURATION)
class Peer:
    def __init__(self) -> None:
        self.predict = network()

    @bentoml.api(route="/picture")
    def picture(self, data: bytes, /) -> dict[str, Any]:
        return answer(self.predict(picture(data)))

    @bentoml.api(route="/row")
    def row(self, values: list[float], /) -> dict[str, Any]:
        return answer(self.predict(row(values)))
