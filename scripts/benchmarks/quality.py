"""Trains with several seeds, ours and the peers, each training in its own process, and reports their quality."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.arguments import names, whole_number
from benchmarks.output import log, print_table
from benchmarks.quality_data import ROOT, Spec, given_task, pipeline_of, read_test, read_train, shared_tasks
from benchmarks.quality_scores import (
    METRICS,
    Intervals,
    Scored,
    differences,
    means_with_intervals,
    read_predictions,
    score,
)
from common.errors import SabuesoError, Unusable
from common.pipelines import FROM_SCRATCH, Backbone
from train.environment import ENVIRONMENT

PEERS = {"covertype": "lightgbm", "pets": "logistic"}  # by pipeline
COLUMNS = ("model", "accuracy", "macro F1", "log loss", "ECE", "ECE if perfect", "seconds", "peak MB")
DIGITS = {**dict.fromkeys((*METRICS, "ece_ideal"), 6), "seconds": 1, "peak_mb": 0}
PARTS = ("train", "tune", "test")
TASKS = tuple(shared_tasks())


def main(argv: list[str]) -> int:
    """Exit code 0: success; 1: a training failed; 2: the data can't be used."""
    parser = argparse.ArgumentParser(prog="scripts/bench quality", description=__doc__)
    parser.add_argument("--tasks", type=names(TASKS), metavar="NAME,NAME", help=f"default: {','.join(TASKS)}")
    parser.add_argument("--seeds", type=whole_number(1, 100), default=3, metavar="N", help="trainings of each (3)")
    parser.add_argument("--train", type=Path, metavar="CSV|DIR", help="other data of the same form; all are used")
    parser.add_argument("--test", type=Path, metavar="CSV|DIR", help="the data to score on")
    parser.add_argument(
        "--folds", type=whole_number(2, 20), metavar="N", help="cross-validate on the training pictures"
    )
    parser.add_argument(
        "--backbone", choices=get_args(Backbone), default="", help="overrides the pipeline's (pictures)"
    )
    parser.add_argument(
        "--image-size", type=whole_number(32, 512), default=0, metavar="PX", help="overrides the pipeline's"
    )
    parser.add_argument(
        "--budget", type=whole_number(1, 86_400), metavar="SECONDS", help="overrides the task's, for a quick try"
    )
    parser.add_argument("--no-peers", action="store_true", help="without LightGBM and logistic regression")
    parser.add_argument("--out", type=Path, default=Path("bench-quality"), metavar="FOLDER", help="for the predictions")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object for programs")
    given = parser.parse_args(argv)
    try:
        tasks = _asked(given)
        for task in tasks:  # report mistakes in the data now, not after an hour
            pipeline = pipeline_of(task)
            parts = (*read_train(replace(task, seed=1), pipeline), read_test(task, pipeline))
            sizes = [f"{part} {len(data.names):,}" for part, data in zip(PARTS, parts, strict=True)]
            log(f"{task.task}: {', '.join(sizes)}; budget {task.budget_s:g} s")
        given.out.mkdir(parents=True, exist_ok=True)
    except (SabuesoError, OSError) as error:
        log(f"! {error}")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed, results = False, {}
    try:
        for task in tasks:
            alone = given.no_peers or task.backbone == FROM_SCRATCH  # the peer for pictures needs a backbone
            models = ["ours"] if alone else ["ours", PEERS[task.pipeline]]
            specs = [
                replace(task, model=model, seed=seed, fold=fold, folds=given.folds or 0)
                for seed in range(1, given.seeds + 1)
                for model in models
                for fold in range(1, (given.folds or 1) + 1)
            ]
            done = [spec for spec in specs if trained(spec, given.out)]
            failed |= len(done) < len(specs)
            results[task.task] = _report(task, done, given.out)
    except KeyboardInterrupt:
        log("! stopped")
        return 130
    (given.out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(f"predictions of each training: {given.out}/*.csv")
    if given.json:
        print(json.dumps(results))
    return 1 if failed else 0


def _asked(given: argparse.Namespace) -> list[Spec]:
    """The tasks to run. Raises Unusable."""
    if bool(given.train) != bool(given.test) or (given.train and given.tasks):
        raise Unusable("--train and --test go together, and without --tasks")
    if given.train:
        tasks = [given_task(given.train, given.test)]
    else:
        shared = shared_tasks()
        tasks = [shared[name] for name in given.tasks or shared]
        if missing := [path for task in tasks for path in (task.train, task.test) if not Path(path).exists()]:
            raise Unusable(
                f"{missing[0]} does not exist. Set SABUESO_SHARED_DATA to the folder of the shared data, "
                "or give your own data with --train and --test."
            )
    if given.folds and any(task.rows for task in tasks):
        raise Unusable("--folds needs --train or --tasks pets: the other tasks draw new rows for each seed")
    overrides = {"backbone": given.backbone, "image_size": given.image_size, "folds": given.folds or 0}
    return [replace(task, budget_s=given.budget or task.budget_s, fold=1, **overrides) for task in tasks]


def trained(spec: Spec, out: Path, module: str = "benchmarks.quality_train") -> bool:
    """Train in a separate process, which writes its files to `out`; False if it fails."""
    name = f"{spec.task}, {spec.model}, seed {spec.seed}" + (f", fold {spec.fold}" if spec.folds else "")
    log(f"  {name} ...")
    places = os.pathsep.join(str(ROOT / folder) for folder in ("scripts", "functions"))
    environment = {**ENVIRONMENT, **os.environ, "PYTHONPATH": places}
    command = [sys.executable, "-m", module, json.dumps(asdict(spec)), str(out)]
    # This process handles Ctrl-C. The training ends when its stdin closes, however this process ends.
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True) as child:  # noqa: S603 (words, no shell)
        code = child.wait()
    if code:
        why = f"code {code}" if code > 0 else signal.Signals(-code).name
        log(f"! {name} failed ({why})")
    return code == 0


def _report(task: Spec, done: Sequence[Spec], out: Path) -> dict[str, Any]:
    """Print the task's table; returns the same figures by model."""
    results, scored, rows = {}, {}, []
    for model in dict.fromkeys(spec.model for spec in done):
        files: dict[str, list[Path]] = {}
        for spec in done:
            if spec.model == model:
                files.setdefault(str(spec.seed), []).append(out / spec.name)
        scored[model] = [_joined(folds) for folds in files.values()]
        facts = [_facts(folds) for folds in files.values()]
        each = [{**score(*predictions), **fact} for predictions, fact in zip(scored[model], facts, strict=True)]
        means = {
            key: round(float(np.mean([figures[key] for figures in each])), digits) for key, digits in DIGITS.items()
        }
        intervals = means_with_intervals(scored[model])
        results[model] = {
            **means,
            "budget_s": task.budget_s,
            **{part: each[0][part] for part in PARTS},
            "intervals": {key: [round(low, 6), round(high, 6)] for key, (_, low, high) in intervals.items()},
            "seeds": dict(zip(files, each, strict=True)),
        }
        rows.append([model, *_cells(intervals, ""), *_rest(means)])
        for seed, figures in zip(files, each, strict=True):
            rows.append([f"  seed {seed}", *(f"{figures[key]:.4f}" for key in METRICS), *_rest(figures)])
    if len(scored) == 2:
        (ours, first), (peer, second) = scored.items()
        rows.append([f"{ours} - {peer}", *_cells(differences(first, second), "+"), "", "", ""])
    instead = f" INSTEAD OF {task.full_budget_s:g} s: a quick try, not comparable"
    options = "".join(
        f", {option}" for option in (task.backbone, task.image_size and f"{task.image_size} px") if option
    )
    print(f"\n{task.task}{options}: budget {task.budget_s:g} s{instead if task.budget_s != task.full_budget_s else ''}")
    print_table(COLUMNS, rows)
    return results


def _joined(folds: Sequence[Path]) -> Scored:
    """The predictions of one training, or of all folds."""
    parts = [read_predictions(file.with_suffix(".csv")) for file in folds]
    probabilities, labels = zip(*parts, strict=True)
    return np.concatenate(probabilities), np.concatenate(labels)


def _facts(folds: Sequence[Path]) -> dict[str, Any]:
    """Sizes, seconds and memory of a training; for folds, the maximum of each, and the facts of all."""
    each = [json.loads(file.with_suffix(".json").read_text(encoding="utf-8")) for file in folds]
    if len(each) == 1:
        return dict(each[0])
    sizes = {part: round(float(np.mean([facts[part] for facts in each]))) for part in PARTS}
    sizes["test"] = sum(facts["test"] for facts in each)
    peaks = {key: max(facts[key] for facts in each) for key in ("seconds", "peak_mb")}
    return {**sizes, **peaks, "folds": each}


def _cells(intervals: Intervals, sign: str) -> list[str]:
    return [f"{value:{sign}.4f} ({low:{sign}.4f} to {high:{sign}.4f})" for value, low, high in intervals.values()]


def _rest(figures: dict[str, Any]) -> list[str]:
    return [f"{figures['ece_ideal']:.4f}", f"{figures['seconds']:.0f}", f"{figures['peak_mb']:.0f}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
