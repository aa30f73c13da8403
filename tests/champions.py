"""Makes champions of other makes than today's pipelines: `python champions.py FOLDER`, in a process of its own."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "functions")]

import numpy as np  # noqa: E402

from bundles import make_bundle  # noqa: E402
from common.features import read_row  # noqa: E402
from common.pipelines import Column, Label, Pipeline, read_pipelines  # noqa: E402
from flowers import as_record, draw, encode, flower_rows  # noqa: E402
from train.fit.preparation import Preparation, prepare  # noqa: E402

GIANT_FROM, OTHER_SIZE = 80.0, 48


def make_flowers(folder: Path, pipeline: Pipeline, seed: int = 0, giants: bool = False, without: str = "") -> None:
    """A bundle of a pipeline like flowers; large ones may be called giants, and a colour be left out."""
    raw, labels = [], []
    for row in flower_rows(90, seed):
        record = {**as_record(row), "scent": "sweet"}
        if record["colour"] == without:
            continue
        label = "giant" if giants and record["petal"] > GIANT_FROM else row[1]
        if label in pipeline.label_values:
            chosen = {column.name: record[column.name] for column in pipeline.inputs}
            raw.append(read_row(chosen, pipeline.input_columns())[0])
            labels.append(pipeline.label_values.index(label))
    make_bundle(folder, pipeline, raw, np.array(labels), prepare(pipeline, raw))


def main(target: Path) -> None:
    flowers = read_pipelines(HERE / "pipelines")["flowers"]
    small, middle, large = flowers.labels
    petal, species, turn, colour, place = flowers.columns
    scent = Column("scent", "category", {"en": "scent", "es": "olor"})
    giant = Label("giant", "Giant", "Gigante")
    make_flowers(target / "other-preprocessing", flowers, seed=5, without="white")
    make_flowers(target / "labels-turned", replace(flowers, labels=(large, small, middle)))
    make_flowers(target / "label-lacking", replace(flowers, labels=(small, middle)))
    make_flowers(target / "label-more", replace(flowers, labels=(*flowers.labels, giant)), giants=True)
    make_flowers(target / "columns-turned", replace(flowers, columns=(place, colour, petal, species, turn)))
    make_flowers(target / "column-gone", replace(flowers, columns=(*flowers.columns, scent)))
    make_flowers(target / "column-lacking", replace(flowers, columns=(petal, species, turn, colour)))
    as_text = replace(turn, type="category", cyclic=None)
    make_flowers(target / "column-of-another-type", replace(flowers, columns=(petal, species, as_text, colour, place)))
    pets = read_pipelines(HERE.parent / "functions" / "pipelines")["pets"]
    files = [encode(draw(label, number)) for number in range(30) for label in pets.label_values]
    make_bundle(
        target / "another-size", pets, files, np.arange(60) % 2, Preparation("image", {"image_size": OTHER_SIZE})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
