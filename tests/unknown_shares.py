"""Fits networks for a few epochs and measures how often known and strange inputs are `unknown`.

Runs as its own process, since TensorFlow is slow to load. Prints one JSON object: shares of `unknown` by input.
"""

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.inference.features import read_row
from common.inference.predictions import statuses
from common.pipeline_files import read_pipelines
from common.pipelines import Pipeline
from fitted import fitted_bundle
from local.drawings import draw_pets
from local.made_up_rows import COLUMNS, made_up_rows

SHIPPED = Path(__file__).resolve().parents[1] / "functions" / "pipelines"
TRAIN_SHARE = 0.8
EPOCHS = {"rows": 4, "pictures": 20}


def unknown_share(
    pipeline: Pipeline, inputs: list[Any], labels: np.ndarray, epochs: int
) -> Callable[[list[Any]], float]:
    """Fit a bundle; returns a function that gives the share of `unknown` among its answers."""
    end = int(TRAIN_SHARE * len(inputs))
    train, tune = (inputs[:end], labels[:end]), (inputs[end:], labels[end:])
    bundle = fitted_bundle(pipeline, train, tune, epochs, Path(tempfile.mkdtemp()))

    def measure(inputs: list[Any]) -> float:
        answers = statuses(*bundle.predict(inputs), bundle.contract.thresholds)
        return answers.count("unknown") / len(answers)

    return measure


def rows(pipeline: Pipeline) -> dict[str, float]:
    columns = pipeline.inputs
    records = [dict(zip(COLUMNS, row, strict=True)) for row in made_up_rows(3000, seed=1)]
    labels = np.array([pipeline.label_values.index(record.pop(pipeline.target.column)) for record in records])
    known = [read_row(record, columns)[0] for record in records]
    unknown = unknown_share(pipeline, known[:2000], labels[:2000], EPOCHS["rows"])
    generator = np.random.default_rng(0)
    numbers = [index for index, column in enumerate(columns) if column.type == "number"]

    def changed(change: Callable[[int], Any], indices: list[int]) -> list[Any]:
        return [
            tuple(change(index) if index in indices else value for index, value in enumerate(row))
            for row in known[2000:2300]
        ]

    all_columns = list(range(len(columns)))
    soil = [index for index, column in enumerate(columns) if column.name == "Soil_Type"]
    return {
        "known": unknown(known[2000:]),
        "columns of other rows": unknown(changed(lambda index: known[generator.integers(2000)][index], all_columns)),
        "anywhere in range": unknown(
            changed(lambda index: generator.uniform(columns[index].min, columns[index].max), numbers)
        ),
        "all zero": unknown(changed(lambda _: 0.0, numbers)),
        "an unseen soil": unknown(changed(lambda _: "C9999", soil)),
    }


def picture(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def pictures(pipeline: Pipeline, backbone: str, size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        draw_pets(Path(folder), 900, seed=1, size=size)
        examples = [(file.read_bytes(), file.parent.name) for file in sorted(Path(folder).rglob("*.jpg"))]
    generator = np.random.default_rng(0)
    examples = [examples[index] for index in generator.permutation(len(examples))]
    labels = np.array([pipeline.label_values.index(label) for _, label in examples])
    known = [body for body, _ in examples]
    train = pipeline.train.model_copy(update={"backbone": backbone, "image_size": size})
    unknown = unknown_share(pipeline.model_copy(update={"train": train}), known[:600], labels[:600], EPOCHS["pictures"])
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
    shares = {
        "rows": rows(pipelines["covertype"]),
        "pretrained": pictures(pipelines["pets"], "efficientnet_lite0", 96),
        "from scratch": pictures(pipelines["pets"], "none", 48),
    }
    print(json.dumps(shares))
