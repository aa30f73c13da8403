"""The champions' bundles for a benchmark: given ones, or the shipped pipelines trained for a short time."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.quality_data import ROOT, Spec, given_task, shared_tasks
from local.drawings import draw_pets
from local.made_up_rows import COLUMNS, made_up_rows
from train.fit import ENVIRONMENT

TASKS = ("pets", "covertype")
MADE_UP_ROWS, DRAWINGS, FEW = 3000, 200, 12


class NoBundles(Exception):
    """Why there are none to serve."""


@dataclass(frozen=True)
class Champions:
    """Bundles by pipeline (`serving`; for peers `saved` too), the data they came from, and the photographs at hand."""

    folder: Path
    pipelines: list[str]
    photos: list[Path]
    told: str

    def bundle(self, pipeline: str) -> Path:
        return self.folder / pipeline / "serving"


def find_champions(given: Path | None, work: Path, budget_s: float, tell: Callable[[str], None]) -> Champions:
    """Those of the folder that is given; where it has none, trained into it. Raises NoBundles."""
    folder = (given or work / "bundles").resolve()
    photos = _photos(work)
    names = sorted(path.parts[-3] for path in folder.glob("*/serving/contract.json"))
    if names:
        return Champions(folder, names, photos, f"of {folder}")
    tasks, data = _tasks(work)
    for task in tasks:
        tell(f"training {task.pipeline} for {budget_s:g} s on {data} ...")
        _train(replace(task, budget_s=budget_s), folder / task.pipeline)
    return Champions(folder, sorted(TASKS), photos, f"trained for {budget_s:g} s on {data}")


def _photos(work: Path) -> list[Path]:
    """Of the shared data; drawings where there are none."""
    shared = Path(shared_tasks()["pets"].test)
    if not shared.is_dir():
        shared = work / "photos"
        draw_pets(shared, FEW, 2)
    return sorted(shared.glob("*/*.jpg"))


def _tasks(work: Path) -> tuple[list[Spec], str]:
    """What to train on: the shared data, or rows and drawings that are made up."""
    shared = shared_tasks()
    tasks = [replace(shared[name], model="ours", seed=1) for name in TASKS]
    if all(Path(path).exists() for task in tasks for path in (task.train, task.test)):
        return tasks, "the shared data"
    folder = work / "made-up"
    draw_pets(folder / "pets", DRAWINGS, 1)
    rows = folder / "covertype.csv"
    with rows.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *made_up_rows(MADE_UP_ROWS, 1)])
    made = [given_task(folder / "pets", folder / "pets"), given_task(rows, rows)]
    return [replace(task, model="ours", seed=1) for task in made], "drawings and made-up rows"


def _train(spec: Spec, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    places = os.pathsep.join(str(ROOT / part) for part in ("scripts", "functions"))
    log = folder / "training.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.champions_train", spec.as_json(), str(folder)],
            env={**ENVIRONMENT, **os.environ, "PYTHONPATH": places},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        raise NoBundles(f"the training of {spec.pipeline} failed; {log} ends:\n{log.read_text()[-2000:]}")
