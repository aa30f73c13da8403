"""Makes bundles of versions that differ from today's pipelines: `python champions.py FOLDER` (a script: TensorFlow)."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "functions")]

import numpy as np  # noqa: E402

from bundles import make_bundle  # noqa: E402
from common.inference.contract import PictureFeatures  # noqa: E402
from common.inference.features import read_row  # noqa: E402
from common.pipeline_files import read_pipelines  # noqa: E402
from common.pipelines import Column, Label, Pipeline, Title  # noqa: E402
from flowers import as_record, draw, encode, flower_rows  # noqa: E402
from train.fit.preprocessing import Preprocessing, prepare  # noqa: E402

GIANT_FROM, OTHER_SIZE = 80.0, 48


def make_flowers(folder: Path, pipeline: Pipeline, seed: int = 0, giants: bool = False, without: str = "") -> None:
    """A bundle of a pipeline like flowers, optionally with a label for giants, or without the rows of one colour."""
    raw, labels = [], []
    for row in flower_rows(90, seed):
        record = {**as_record(row), "scent": "sweet"}
        if record["colour"] == without:
            continue
        label = "giant" if giants and record["petal"] > GIANT_FROM else row[1]
        if label in pipeline.label_values:
            chosen = {column.name: record[column.name] for column in pipeline.inputs}
            raw.append(read_row(chosen, pipeline.inputs)[0])
            labels.append(pipeline.label_values.index(label))
    make_bundle(folder, pipeline, raw, np.array(labels), prepare(pipeline, raw))


def with_labels(pipeline: Pipeline, labels: list[Label]) -> Pipeline:
    target = pipeline.target.model_copy(update={"labels": labels})
    return pipeline.model_copy(update={"target": target})


def with_columns(pipeline: Pipeline, columns: list[Column]) -> Pipeline:
    return pipeline.model_copy(update={"columns": columns})


def main(target: Path) -> None:
    flowers = read_pipelines(HERE / "pipelines")["flowers"]
    small, middle, large = flowers.labels
    petal, species, turn, colour, place = flowers.columns
    scent = Column(name="scent", type="category", title=Title(en="scent", es="olor"))
    giant = Label(value="giant", en="Giant", es="Gigante")
    make_flowers(target / "other-preprocessing", flowers, seed=5, without="white")
    make_flowers(target / "labels-turned", with_labels(flowers, [large, small, middle]))
    make_flowers(target / "label-lacking", with_labels(flowers, [small, middle]))
    make_flowers(target / "label-more", with_labels(flowers, [*flowers.labels, giant]), giants=True)
    make_flowers(target / "columns-turned", with_columns(flowers, [place, colour, petal, species, turn]))
    make_flowers(target / "column-gone", with_columns(flowers, [*flowers.columns, scent]))
    make_flowers(target / "column-lacking", with_columns(flowers, [petal, species, turn, colour]))
    as_text = turn.model_copy(update={"type": "category", "cyclic": None})
    make_flowers(target / "column-of-another-type", with_columns(flowers, [petal, species, as_text, colour, place]))
    pets = read_pipelines(HERE.parent / "functions" / "pipelines")["pets"]
    files = [encode(draw(label, number)) for number in range(30) for label in pets.label_values]
    make_bundle(
        target / "another-size", pets, files, np.arange(60) % 2, Preprocessing(PictureFeatures(image_size=OTHER_SIZE))
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
