"""Trains one pipeline for a benchmark: `python -m benchmarks.champions_train SPEC FOLDER`.

It leaves the bundle in FOLDER/serving, and the same network as a SavedModel in FOLDER/saved.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import train.bundle.make_bundle as making
from benchmarks import quality_ours
from benchmarks.quality_data import Spec, pipeline_of, read_train
from benchmarks.quality_train import Teller


def main(argv: list[str]) -> int:
    spec, folder = Spec(**json.loads(argv[0])), Path(argv[1])
    pipeline = pipeline_of(spec)
    train, tune = read_train(spec, pipeline)
    _keep_saved_model(folder / "saved")
    with tempfile.TemporaryDirectory() as scratch:
        quality_ours.fit(pipeline, train, tune, time.monotonic(), Path(scratch), Teller())
        shutil.copytree(Path(scratch) / "serving", folder / "serving")
    return 0


def _keep_saved_model(folder: Path) -> None:
    """The serving network is made, written and forgotten inside make_bundle: here it is exported before."""
    write_network = making.write_network

    def write_both(serving: Any, *rest: Any, **more: Any) -> Any:
        serving.export(str(folder), verbose=False)
        return write_network(serving, *rest, **more)

    making.write_network = write_both


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
