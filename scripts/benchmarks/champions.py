"""The bundles for a benchmark: given ones, or short trainings of the shipped pipelines.

`python -m benchmarks.champions SPEC FOLDER` runs a training: it writes the bundle to FOLDER/serving, and the same
network as a SavedModel to FOLDER/saved.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.output import log
from benchmarks.quality import trained
from benchmarks.quality_data import Spec, given_task, pipeline_of, read_train, shared_tasks
from benchmarks.quality_train import end_with_stdin
from benchmarks.wrk import MeasurementFailed
from local.drawings import draw_pets
from local.made_up_rows import COLUMNS, made_up_rows

TASKS = ("pets", "covertype")
MADE_UP_ROWS, DRAWINGS = 3000, 200
BUNDLES = "*/serving/contract.json"


@dataclass(frozen=True)
class Champions:
    """Bundles by pipeline (each beside `saved` for peers), a photograph, and their origin."""

    bundles: dict[str, Path]
    photo: Path
    source: str


def find_champions(given: Path | None, work: Path, budget_s: int) -> Champions:
    """The bundles of the folder; if it has none, they are trained. Raises MeasurementFailed."""
    folder = (given or work / "trained").resolve()
    tasks, data = _tasks(work / "made-up")
    photo = min(Path(tasks[0].test).glob("*/*.jpg"))
    source = f"from {folder}"
    if not list(folder.glob(BUNDLES)):
        source = f"trained for {budget_s} s each on {data}"
        for task in tasks:
            target = folder / task.pipeline
            target.mkdir(parents=True, exist_ok=True)
            if not trained(replace(task, budget_s=budget_s), target, "benchmarks.champions"):
                raise MeasurementFailed(f"the training of {task.pipeline} failed")
    return Champions({path.parts[-3]: path.parent for path in sorted(folder.glob(BUNDLES))}, photo, source)


def _tasks(folder: Path) -> tuple[list[Spec], str]:
    """Tasks on the shared data, or on drawings and made-up rows, which are written to the folder."""
    shared = shared_tasks()
    tasks, data = [shared[name] for name in TASKS], "the shared data"
    if not all(Path(path).exists() for task in tasks for path in (task.train, task.test)):
        draw_pets(folder / "pets", DRAWINGS, 1)
        rows = folder / "covertype.csv"
        with rows.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *made_up_rows(MADE_UP_ROWS, 1)])
        tasks, data = [given_task(path, path) for path in (folder / "pets", rows)], "drawings and made-up rows"
    return [replace(task, model="ours", seed=1) for task in tasks], data


def main(argv: list[str]) -> int:
    import train.export.make_bundle as bundle_module
    from benchmarks import quality_ours

    end_with_stdin()
    spec, folder = Spec(**json.loads(argv[0])), Path(argv[1])
    pipeline, write_network = pipeline_of(spec), bundle_module.write_network

    def write_both(serving: Any, target: Path) -> None:
        """make_bundle does not return the serving network, so it is saved where it is written."""
        serving.export(str(folder / "saved"), verbose=False)
        write_network(serving, target)

    bundle_module.write_network = write_both  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as scratch:
        quality_ours.fit(pipeline, *read_train(spec, pipeline), time.monotonic(), Path(scratch), log)
        shutil.copytree(Path(scratch) / "serving", folder / "serving")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
