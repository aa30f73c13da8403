"""Trains `pets` on the shared photographs, on all and on few, and measures accuracy and the share of `unknown`.

`python photographs.py [FOLDER...]`: folders of further pictures without pets. Prints one JSON object. Runs as its own
process, since TensorFlow is slow to load and the memory is measured.
"""

import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images

from benchmarks.quality_data import KEY, SUFFIXES, Data, Example, pipeline_of, read_test, read_train, shared_tasks
from benchmarks.quality_ours import fit
from benchmarks.quality_scores import score
from benchmarks.quality_train import MEGABYTE
from common.inference.bundle import Bundle
from common.inference.predictions import statuses
from local.drawings import draw_pets

FEW, SEEDS, SIDE = 20, (1, 2, 3), 200
rng = np.random.default_rng(0)


def encode(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=90)
    return file.getvalue()


def random_colour() -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())


def drawings() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        draw_pets(Path(folder), 60, seed=3)
        return [file.read_bytes() for file in sorted(Path(folder).rglob("*.jpg"))]


def noise() -> list[bytes]:
    """From a single colour to a random value per pixel."""
    grains = [1] * 12 + [2, 3, 4, 6, 8, 12, 20, 40] * 4 + [SIDE] * 12
    fields = [Image.fromarray(rng.integers(0, 256, (grain, grain, 3), dtype=np.uint8)) for grain in grains]
    return [encode(field.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for field in fields]


def documents() -> list[bytes]:
    return [encode(_document()) for _ in range(30)]


def _document() -> Image.Image:
    page = Image.new("RGB", (600, 800), "white")
    pen, letters, down = ImageDraw.Draw(page), list("abcdefghijklmnoprstuv"), 30
    while down < 770:
        words = ("".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(rng.integers(3, 14)))
        size = int(rng.integers(10, 22))
        pen.text((40, down), " ".join(words), fill="black", font=ImageFont.load_default(size=size))
        down += int(rng.integers(16, 40))
    return page


def shapes() -> list[bytes]:
    return [encode(_shapes()) for _ in range(40)]


def _shapes() -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), random_colour())
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.integers(1, 5)):
        left, top = rng.integers(0, 3 * SIDE // 4, 2).tolist()
        side = int(rng.integers(SIDE // 10, SIDE // 2))
        draw = [pen.ellipse, pen.rectangle, _triangle(pen)][rng.integers(3)]
        draw((left, top, left + side, top + side), fill=random_colour())
    return picture


def _triangle(pen: ImageDraw.ImageDraw) -> Callable[..., None]:
    def draw(box: tuple[int, int, int, int], fill: tuple[int, ...]) -> None:
        left, top, right, bottom = box
        pen.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill)

    return draw


def landscapes() -> list[bytes]:
    """scikit-learn's sample pictures (a temple at a lake, a flower), and crops of them."""
    return [file for pixels in load_sample_images().images for file in _with_crops(Image.fromarray(pixels), 12)]


def _with_crops(picture: Image.Image, count: int) -> list[bytes]:
    files, short_side = [encode(picture)], min(picture.size)
    for _ in range(count):
        side = int(short_side * rng.uniform(0.4, 0.9))
        left, top = (int(rng.integers(0, whole - side + 1)) for whole in picture.size)
        files.append(encode(picture.crop((left, top, left + side, top + side))))
    return files


def pictures_in(folder: Path) -> list[bytes]:
    return [encode(Image.open(file)) for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]


def sample_of(data: Data, count: int, seed: int) -> Data:
    """`count` random examples of each label."""
    generator = np.random.default_rng(seed)
    labels = np.unique(data.labels)
    indices = [generator.choice(np.flatnonzero(data.labels == label), count, False) for label in labels]
    chosen = sorted(np.concatenate(indices).tolist())
    return Data([Example(data.names[index], data.inputs[index], data.labels[index], b"", 0) for index in chosen])


def main() -> None:
    spec = replace(shared_tasks()["pets"], model="ours", seed=1)
    pipeline = pipeline_of(spec)
    train, tune = read_train(spec, pipeline)
    test = read_test(spec, pipeline)

    def learn(train: Data, tune: Data, folder: Path) -> tuple[Bundle, dict[str, Any]]:
        _, facts = fit(pipeline, train, tune, time.monotonic(), folder, lambda line: print(line, file=sys.stderr))
        return Bundle(folder / "serving", KEY), facts

    with tempfile.TemporaryDirectory() as folder:
        bundle, facts = learn(train, tune, Path(folder))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE

    def unknown(inputs: list[bytes]) -> float:
        return statuses(*bundle.predict(inputs), bundle.contract.thresholds).count("unknown") / len(inputs)

    strange = {make.__name__: make() for make in (drawings, noise, documents, shapes, landscapes)}
    strange |= {Path(name).name: pictures_in(Path(name)) for name in sys.argv[1:]}
    results = {
        "scores": score(bundle.predict(test.inputs)[0], test.labels),
        "peak_mb": peak_mb,
        "export_difference": facts["export_difference"],
        "known": unknown(test.inputs),
        "unknown": {name: unknown(pictures) for name, pictures in strange.items()},
        "few": [],
    }
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            bundle, _ = learn(sample_of(train, FEW - 2, seed), sample_of(tune, 2, seed), Path(folder))
            results["few"].append(score(bundle.predict(test.inputs)[0], test.labels)["accuracy"])
    print(json.dumps(results))


if __name__ == "__main__":
    main()
