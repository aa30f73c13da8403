"""Makes bundles as large as those that serve: `python full_size.py FOLDER` fits the pipelines to a few inputs."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "functions"), str(HERE.parent / "scripts")]

import numpy as np  # noqa: E402

from common.labelled_rows import read_labelled_row  # noqa: E402
from common.pipeline_files import read_pipelines  # noqa: E402
from common.pipelines import Pipeline  # noqa: E402
from fitted import fitted_bundle  # noqa: E402
from flowers import draw, encode  # noqa: E402
from local.made_up_rows import made_up_rows  # noqa: E402

PICTURES, ROWS = 60, 600


def inputs_of(pipeline: Pipeline) -> tuple[list[Any], np.ndarray]:
    if pipeline.kind == "image":
        files = [encode(draw(label, number, (200, 150))) for number in range(PICTURES) for label in ("cat", "dog")]
        return files, np.arange(2 * PICTURES) % 2
    rows = [read_labelled_row(row, pipeline) for row in made_up_rows(ROWS, 1)]
    good = [(values, label) for values, label, errors in rows if not errors]
    return [values for values, _ in good], np.array([pipeline.label_values.index(label) for _, label in good])


def main(target: Path) -> None:
    for name, pipeline in read_pipelines(HERE.parent / "functions" / "pipelines").items():
        inputs, labels = inputs_of(pipeline)
        tune = len(inputs) // 4
        with tempfile.TemporaryDirectory() as folder:
            splits = (inputs[tune:], labels[tune:]), (inputs[:tune], labels[:tune])
            bundle = fitted_bundle(pipeline, *splits, epochs=2, folder=Path(folder))
            shutil.copytree(bundle.folder, target / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
