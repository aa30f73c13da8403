"""Fits the two kinds of network for some epochs and asks them for what they know and what they can't know.

In a process of its own, since TensorFlow is dear. Prints one JSON object: for each kind the share of `unknown`.
"""

import io
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.features import read_row
from common.network import statuses
from common.pipelines import Pipeline, read_pipelines
from fitted import fitted_bundle
from local.drawings import draw_pets
from local.made_up_rows import COLUMNS, made_up_rows

SHIPPED = Path(__file__).resolve().parents[1] / "functions" / "pipelines"
PART = 0.8
EPOCHS = {"rows": 4, "pictures": 20}


def asker(pipeline: Pipeline, inputs: list[Any], labels: np.ndarray, epochs: int) -> Callable[[list[Any]], float]:
    """A fitted bundle as the share of `unknown` among its answers to some inputs."""
    cut = int(PART * len(inputs))
    train, tune = (inputs[:cut], labels[:cut]), (inputs[cut:], labels[cut:])
    bundle = fitted_bundle(pipeline, train, tune, epochs, Path(tempfile.mkdtemp()))

    def unknown(asked: list[Any]) -> float:
        return float(np.mean([one == "unknown" for one in statuses(*bundle.predict(asked), thresholds)]))

    thresholds = bundle.contract["thresholds"]
    return unknown


def rows(pipeline: Pipeline) -> dict[str, float]:
    columns, target = pipeline.input_columns(), COLUMNS.index(pipeline.target)
    records = [dict(zip(COLUMNS, row, strict=True)) for row in made_up_rows(3000, seed=1)]
    labels = np.array([pipeline.label_values.index(one.pop(COLUMNS[target])) for one in records])
    known = [read_row(one, columns)[0] for one in records]
    unknown = asker(pipeline, known[:2000], labels[:2000], EPOCHS["rows"])
    generator = np.random.default_rng(0)
    numbers = [place for place, column in enumerate(columns) if column["type"] == "number"]

    def changed(change: Callable[[int, float], Any], places: list[int]) -> list[Any]:
        return [
            tuple(change(place, value) if place in places else value for place, value in enumerate(row))
            for row in known[2000:2300]
        ]

    every = list(range(len(columns)))
    soil = [place for place, column in enumerate(columns) if column["name"] == "Soil_Type"]
    return {
        "known": unknown(known[2000:]),
        "columns of other rows": unknown(changed(lambda place, _: known[generator.integers(2000)][place], every)),
        "anywhere in range": unknown(
            changed(lambda place, _: generator.uniform(columns[place]["min"], columns[place]["max"]), numbers)
        ),
        "all zero": unknown(changed(lambda *_: 0.0, numbers)),
        "a soil never seen": unknown(changed(lambda *_: "C9999", soil)),
    }


def picture(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def pictures(pipeline: Pipeline, backbone: str, size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        draw_pets(Path(folder), 900, seed=1, size=size)
        found = [(file.read_bytes(), file.parent.name) for file in sorted(Path(folder).rglob("*.jpg"))]
    generator = np.random.default_rng(0)
    found = [found[place] for place in generator.permutation(len(found))]
    labels = np.array([pipeline.label_values.index(label) for _, label in found])
    known = [body for body, _ in found]
    small = replace(pipeline, train=replace(pipeline.train, backbone=backbone, image_size=size))
    unknown = asker(small, known[:600], labels[:600], EPOCHS["pictures"])
    ramp = np.linspace(0, 255, 48)[:, None, None] * np.ones((48, 48, 3))
    return {
        "known": unknown(known[600:]),
        "noise": unknown([picture(generator.uniform(0, 255, (48, 48, 3))) for _ in range(40)]),
        "one colour": unknown([picture(np.full((48, 48, 3), generator.integers(0, 256, 3))) for _ in range(40)]),
        "a ramp": unknown([picture(np.roll(ramp, turn, axis=0)) for turn in range(0, 48, 4)]),
        "stripes": unknown([picture(255 * (np.indices((48, 48, 3))[0] // width % 2)) for width in range(1, 9)]),
    }


if __name__ == "__main__":
    pipelines = read_pipelines(SHIPPED)
    found = {
        "rows": rows(pipelines["covertype"]),
        "pretrained": pictures(pipelines["pets"], "efficientnet_lite0", 96),
        "from nothing": pictures(pipelines["pets"], "none", 48),
    }
    print(json.dumps(found), file=sys.stdout)
