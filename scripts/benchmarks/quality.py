"""Trains with several seeds, the peers too, each training in a process of its own, and tells how good they are."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_data import ROOT, Spec, given_task, pipeline_of, read_test, read_train, shared_tasks
from benchmarks.quality_scores import METRICS, Scored, differences, means_with_intervals, read_predictions, score
from benchmarks.table import print_table
from common.errors import SabuesoError, Unusable
from train.fit import ENVIRONMENT

PEERS = {"covertype": "lightgbm", "pets": "small_convnet"}  # by pipeline
COLUMNS = ("model", "accuracy", "macro F1", "log loss", "ECE", "ECE if perfect", "seconds", "peak MB")
LOG_LINES = 12
TASKS = tuple(shared_tasks())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", type=_tasks, metavar="NAME,NAME", help=f"default: {','.join(TASKS)}")
    parser.add_argument("--seeds", type=_seeds, default=3, metavar="N", help="trainings of each model (default: 3)")
    parser.add_argument("--train", type=Path, metavar="CSV|DIR", help="other data of the same form; all of it is used")
    parser.add_argument("--test", type=Path, metavar="CSV|DIR", help="what those are scored on")
    parser.add_argument("--budget", type=_seconds, metavar="SECONDS", help="instead of the tasks' own: a quick try")
    parser.add_argument("--no-peers", action="store_true", help="without LightGBM and the small convnet")
    parser.add_argument("--out", type=Path, default=Path("bench-quality"), metavar="FOLDER", help="for predictions")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object for programs")


def _tasks(text: str) -> list[str]:
    names = text.split(",")
    if wrong := [name for name in names if name not in TASKS]:
        raise argparse.ArgumentTypeError(f"no task {', '.join(wrong)}; there are: {', '.join(TASKS)}")
    return names


def _seeds(text: str) -> int:
    if not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text}: from 1 to 100")
    return int(text)


def _seconds(text: str) -> float:
    if not 1 <= float(text) <= 86_400:
        raise argparse.ArgumentTypeError(f"{text}: from 1 to 86400 seconds")
    return float(text)


def run(given: argparse.Namespace) -> int:
    """0: all is well; 1: a training failed; 2: the data can't be used."""
    try:
        tasks = _asked(given)
        for task in tasks:  # mistakes in the data are told now, not after an hour
            pipeline = pipeline_of(task)
            train, tune, test = *read_train(replace(task, seed=1), pipeline), read_test(task, pipeline)
            sizes = f"train {len(train.names):,}, tune {len(tune.names):,}, test {len(test.names):,}"
            print(f"{task.task}: {sizes}; budget {task.budget_s:g} s", file=sys.stderr)
        given.out.mkdir(parents=True, exist_ok=True)
    except (SabuesoError, OSError) as error:
        print(f"! {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        failed, found = 0, {}
        for task in tasks:
            models = ["ours"] if given.no_peers else ["ours", PEERS[task.pipeline]]
            done: dict[str, list[Spec]] = {model: [] for model in models}
            for seed in range(1, given.seeds + 1):
                for model in models:
                    spec = replace(task, model=model, seed=seed)
                    if _trained(spec, given.out):
                        done[model].append(spec)
                    else:
                        failed += 1
            found[task.task] = _told(task, done, given.out)
    except KeyboardInterrupt:
        print("! stopped", file=sys.stderr)
        return 130
    (given.out / "results.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"predictions of each training: {given.out}/TASK-MODEL-SEED.csv")
    if given.json:
        print(json.dumps(found))
    return 1 if failed else 0


def _asked(given: argparse.Namespace) -> list[Spec]:
    """The tasks to do. Raises Unusable."""
    if bool(given.train) != bool(given.test) or (given.train and given.tasks):
        raise Unusable("--train and --test go together, and without --tasks")
    if given.train:
        tasks = [given_task(given.train, given.test)]
    else:
        every = shared_tasks()
        tasks = [every[name] for name in given.tasks or every]
        for path in {path: None for task in tasks for path in (task.train, task.test)}:
            if not Path(path).exists():
                raise Unusable(
                    f"there is no {path}. SABUESO_SHARED_DATA names the folder of the shared data; "
                    "or give data of your own with --train and --test."
                )
    return [replace(task, budget_s=given.budget or task.budget_s) for task in tasks]


def _trained(spec: Spec, out: Path) -> bool:
    """Train in a process of its own, which leaves its files in `out`; False, and the end of its log, if it fails."""
    predictions, facts, log = (out / f"{spec.name}.{suffix}" for suffix in ("csv", "json", "log"))
    for path in (predictions, facts):
        path.unlink(missing_ok=True)
    with log.open("wb") as errors, _child(spec, out, errors) as child:
        assert child.stdout is not None
        for line in child.stdout:
            print(f"  {spec.task}, {spec.model}, seed {spec.seed}: {line.rstrip()}", file=sys.stderr, flush=True)
        code = child.wait()
    if code == 0:
        return True
    end = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    why = f"code {code}" if code > 0 else signal.Signals(-code).name
    print(f"! {spec.task}, {spec.model}, seed {spec.seed} failed ({why}); {log} ends:", file=sys.stderr)
    print("\n".join(f"    {line}" for line in end), file=sys.stderr)
    return False


@contextlib.contextmanager
def _child(spec: Spec, out: Path, errors: Any) -> Iterator[subprocess.Popen[str]]:
    """The process, which ends with this one: killed here, or by itself when its stdin closes."""
    places = os.pathsep.join(str(ROOT / folder) for folder in ("scripts", "functions"))
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.quality_train", spec.as_json(), str(out)],
        env={**ENVIRONMENT, **os.environ, "PYTHONPATH": places},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,  # Ctrl-C is this process's matter
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _told(task: Spec, done: dict[str, list[Spec]], out: Path) -> dict[str, Any]:
    """Print the task's table; the same for programs."""
    found, scored, rows = {}, {}, []
    for model, specs in done.items():
        if not specs:
            continue
        scored[model] = [read_predictions(out / f"{spec.name}.csv") for spec in specs]
        facts = [json.loads((out / f"{spec.name}.json").read_text(encoding="utf-8")) for spec in specs]
        found[model], more = _model(task, specs, scored[model], facts)
        rows += more
    sizes = next(({key: one[key] for key in ("train", "tune", "test")} for one in found.values()), {})
    print(f"\n{task.task}: " + ", ".join(f"{part} {size:,}" for part, size in sizes.items()) + _budget(task))
    if len(scored) == 2:
        rows.append(_difference(scored))
    print_table(COLUMNS, rows)
    return found


def _budget(task: Spec) -> str:
    if task.budget_s == task.full_budget_s:
        return f"; budget {task.budget_s:g} s"
    return f"; budget {task.budget_s:g} s INSTEAD OF {task.full_budget_s:g} s: a quick try, not the task's figures"


def _model(
    task: Spec, specs: list[Spec], scored: list[Scored], facts: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[list[str]]]:
    """Means over the seeds with intervals, and each seed's values; and the rows that tell them."""
    each = [{**score(*one), **fact} for one, fact in zip(scored, facts, strict=True)]
    intervals = means_with_intervals(scored)
    mean: Callable[[str], float] = lambda key: float(np.mean([one[key] for one in each]))  # noqa: E731
    found: dict[str, Any] = {key: round(mean(key), 6) for key in (*METRICS, "ece_ideal")}
    found |= {"seconds": round(mean("seconds"), 1), "peak_mb": round(mean("peak_mb"))}
    found |= {"budget_s": task.budget_s, **{part: facts[0][part] for part in ("train", "tune", "test")}}
    found["intervals"] = {key: [round(low, 6), round(high, 6)] for key, (_, low, high) in intervals.items()}
    found["seeds"] = {str(spec.seed): one for spec, one in zip(specs, each, strict=True)}
    whole = [f"{value:.4f} ({low:.4f} to {high:.4f})" for value, low, high in intervals.values()]
    rest = [f"{found['ece_ideal']:.4f}", f"{found['seconds']:.0f}", f"{found['peak_mb']}"]
    rows = [[specs[0].model, *whole, *rest]]
    for spec, one in zip(specs, each, strict=True):
        numbers = [f"{one[key]:.4f}" for key in (*METRICS, "ece_ideal")]
        rows.append([f"  seed {spec.seed}", *numbers, f"{one['seconds']:.0f}", f"{one['peak_mb']}"])
    return found, rows


def _difference(scored: dict[str, list[Scored]]) -> list[str]:
    (ours, first), (peer, second) = scored.items()
    apart = differences(first, second).values()
    return [
        f"{ours} - {peer}",
        *(f"{value:+.4f} ({low:+.4f} to {high:+.4f})" for value, low, high in apart),
        "",
        "",
        "",
    ]
