"""What the servers are asked, and what is right: from a bundle's contract and its network, run here by LiteRT."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.features import encode_rows
from common.pictures import decode_picture, picture_view

LARGE = (4000, 3000)
TRIED = 12


class Lite:
    """The network alone: one input at a time, with nothing around it."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        runner = self._interpreter.get_signature_runner("serving_default")
        self._input = next(iter(runner.get_input_details().values()))["index"]
        self._output = runner.get_output_details()["probabilities"]["index"]

    def __call__(self, encoded: np.ndarray) -> np.ndarray:
        """Float32 (1, ...) -> probabilities (labels,)."""
        self._interpreter.set_tensor(self._input, encoded)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output)[0])


@dataclass(frozen=True)
class Probe:
    """One kind's inputs, each with the label that is right for it.

    `exact` loses nothing: it becomes `encoded` whatever decodes it, so that all must give `probabilities`.
    """

    pipeline: str
    contract: dict[str, Any]
    encoded: np.ndarray
    probabilities: np.ndarray
    exact: bytes
    usual: bytes
    label: str
    large: bytes = b""
    large_label: str = ""

    @property
    def kind(self) -> str:
        return str(self.contract["kind"])

    @property
    def labels(self) -> list[str]:
        return [label["value"] for label in self.contract["labels"]]


def read_probe(pipeline: str, bundle: Path, photos: Sequence[Path]) -> Probe:
    """The probe of a pipeline; `photos` are used if it is of pictures."""
    contract = json.loads((bundle / "contract.json").read_text(encoding="utf-8"))
    lite = Lite(bundle / "network.tflite")
    return (_pictures if contract["kind"] == "image" else _row)(pipeline, contract, lite, photos)


def _pictures(pipeline: str, contract: dict[str, Any], lite: Lite, photos: Sequence[Path]) -> Probe:
    """The photograph, of the first ones, of which the network is surest: another decoder must not turn its label."""
    view, names = picture_view(contract["features"]), [label["value"] for label in contract["labels"]]

    def answer(body: bytes) -> np.ndarray:
        return lite(decode_picture(body, *view)[None].astype(np.float32))

    files = [path.read_bytes() for path in photos[:TRIED]]
    best = max(files, key=lambda body: answer(body).max())
    large = _large(best)
    exact = io.BytesIO()
    Image.open(io.BytesIO(best)).convert("RGB").save(exact, "PNG")
    encoded = decode_picture(exact.getvalue(), *view)[None].astype(np.float32)
    label, large_label = (names[int(answer(body).argmax())] for body in (best, large))
    return Probe(pipeline, contract, encoded, lite(encoded), exact.getvalue(), best, label, large, large_label)


def _large(body: bytes) -> bytes:
    """The photograph at 12 megapixels, with the grain of a camera: a baseline JPEG of some megabytes."""
    picture = Image.open(io.BytesIO(body)).convert("RGB").resize(LARGE, Image.Resampling.BICUBIC)
    pixels = np.asarray(picture, dtype=np.int16)
    grain = np.random.default_rng(0).normal(0, 5, (LARGE[1], LARGE[0], 1)).astype(np.int16)
    whole = io.BytesIO()
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(whole, "JPEG", quality=88)
    return whole.getvalue()


def _row(pipeline: str, contract: dict[str, Any], lite: Lite, photos: Sequence[Path]) -> Probe:
    values = tuple(column["examples"][0] for column in contract["columns"])
    encoded = encode_rows([values], contract["features"]["columns"])
    probabilities = lite(encoded)
    names = [column["name"] for column in contract["columns"]]
    body = json.dumps(dict(zip(names, values, strict=True))).encode()
    label = contract["labels"][int(probabilities.argmax())]["value"]
    return Probe(pipeline, contract, encoded, probabilities, body, body, label)


def csv_of(contract: Mapping[str, Any], count: int) -> bytes:
    """So many rows with a header: numbers between a column's quartiles, categories that it knows."""
    rng, columns = np.random.default_rng(0), []
    for column in contract["columns"]:
        if column["type"] == "category":
            drawn = rng.choice(np.array(column.get("known") or column["examples"]), count)
        else:
            low, high = min(column["examples"]), max(column["examples"])
            values = rng.uniform(low, high, count)
            whole = all(float(one).is_integer() for one in column["examples"])
            drawn = np.char.mod("%d" if whole else "%.3f", values.round() if whole else values)
        columns.append(drawn)
    lines = [",".join(row) for row in zip(*columns, strict=True)]
    return "\n".join([",".join(column["name"] for column in contract["columns"]), *lines, ""]).encode()
