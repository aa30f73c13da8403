"""The shared photographs: what `pets` learns of all and of few, and what it calls unknown, as one JSON object.

`python photographs.py [FOLDER]`: the folder has further pictures that are no pets. In a process of its own, since
TensorFlow is dear and the memory is measured.
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
from common.bundle import Bundle
from common.network import statuses
from local.drawings import draw_pets

FEW, SEEDS, SIDE = 20, (1, 2, 3), 200
chance = np.random.default_rng(0)


def file_of(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=90)
    return file.getvalue()


def colour() -> tuple[int, ...]:
    return tuple(chance.integers(0, 256, 3).tolist())


def drawings() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        draw_pets(Path(folder), 60, seed=3)
        return [file.read_bytes() for file in sorted(Path(folder).rglob("*.jpg"))]


def noise() -> list[bytes]:
    """From one colour over a few soft spots to a value for each point."""
    grains = [1] * 12 + [2, 3, 4, 6, 8, 12, 20, 40] * 4 + [SIDE] * 12
    fields = [Image.fromarray(chance.integers(0, 256, (grain, grain, 3), dtype=np.uint8)) for grain in grains]
    return [file_of(field.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for field in fields]


def documents() -> list[bytes]:
    return [file_of(_document()) for _ in range(30)]


def _document() -> Image.Image:
    page = Image.new("RGB", (600, 800), "white")
    pen, letters, down = ImageDraw.Draw(page), list("abcdefghijklmnoprstuv"), 30
    while down < 770:
        words = ("".join(chance.choice(letters, chance.integers(2, 9))) for _ in range(chance.integers(3, 14)))
        size = int(chance.integers(10, 22))
        pen.text((40, down), " ".join(words), fill="black", font=ImageFont.load_default(size=size))
        down += int(chance.integers(16, 40))
    return page


def shapes() -> list[bytes]:
    return [file_of(_shapes()) for _ in range(40)]


def _shapes() -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), colour())
    pen = ImageDraw.Draw(picture)
    for _ in range(chance.integers(1, 5)):
        left, top = chance.integers(0, 3 * SIDE // 4, 2).tolist()
        side = int(chance.integers(SIDE // 10, SIDE // 2))
        draw = [pen.ellipse, pen.rectangle, _triangle(pen)][chance.integers(3)]
        draw((left, top, left + side, top + side), fill=colour())
    return picture


def _triangle(pen: ImageDraw.ImageDraw) -> Callable[..., None]:
    def draw(box: tuple[int, int, int, int], fill: tuple[int, ...]) -> None:
        left, top, right, bottom = box
        pen.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill)

    return draw


def landscapes() -> list[bytes]:
    """scikit-learn's sample pictures (a temple at a lake, a flower), and parts of them."""
    return [file for pixels in load_sample_images().images for file in _with_parts(Image.fromarray(pixels), 12)]


def _with_parts(picture: Image.Image, count: int) -> list[bytes]:
    found, least = [file_of(picture)], min(picture.size)
    for _ in range(count):
        side = int(least * chance.uniform(0.4, 0.9))
        left, top = (int(chance.integers(0, whole - side + 1)) for whole in picture.size)
        found.append(file_of(picture.crop((left, top, left + side, top + side))))
    return found


def given(folder: Path) -> list[bytes]:
    return [file_of(Image.open(file)) for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]


def some(data: Data, each: int, seed: int) -> Data:
    """So many examples of each label."""
    generator = np.random.default_rng(seed)
    places = [generator.choice(np.flatnonzero(data.labels == label), each, False) for label in np.unique(data.labels)]
    chosen = sorted(np.concatenate(places).tolist())
    return Data([Example(data.names[one], data.inputs[one], data.labels[one], b"", 0) for one in chosen])


def main() -> None:
    spec = replace(shared_tasks()["pets"], model="ours", seed=1)
    pipeline = pipeline_of(spec)
    train, tune = read_train(spec, pipeline)
    test = read_test(spec, pipeline)

    def learn(train: Data, tune: Data, folder: Path) -> tuple[Bundle, dict[str, Any]]:
        _, facts = fit(pipeline, train, tune, time.monotonic(), folder, lambda said: print(said, file=sys.stderr))
        return Bundle(folder / "serving", KEY), facts

    with tempfile.TemporaryDirectory() as folder:
        bundle, facts = learn(train, tune, Path(folder))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE

    def unknown(inputs: list[bytes]) -> float:
        return statuses(*bundle.predict(inputs), bundle.contract["thresholds"]).count("unknown") / len(inputs)

    strange = {make.__name__: make() for make in (drawings, noise, documents, shapes, landscapes)}
    strange |= {Path(name).name: given(Path(name)) for name in sys.argv[1:]}
    told = {
        "scores": score(bundle.predict(test.inputs)[0], test.labels),
        "peak_mb": peak_mb,
        "export_apart": facts["export_apart"],
        "known": unknown(test.inputs),
        "unknown": {name: unknown(pictures) for name, pictures in strange.items()},
        "few": [],
    }
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            bundle, _ = learn(some(train, FEW - 2, seed), some(tune, 2, seed), Path(folder))
            told["few"].append(score(bundle.predict(test.inputs)[0], test.labels)["accuracy"])
    print(json.dumps(told))


if __name__ == "__main__":
    main()
