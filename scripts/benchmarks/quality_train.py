"""One training of a benchmark, in its own process: `python -m benchmarks.quality_train SPEC FOLDER`.

It logs progress on stderr and writes NAME.csv (predictions) and NAME.json (sizes, seconds, memory) to the folder. It
ends when its stdin closes, because its parent has ended.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.output import log
from benchmarks.quality_data import Spec, pipeline_of, read_test, read_train
from benchmarks.quality_scores import write_predictions
from common.errors import SabuesoError

MODELS = {"ours": "quality_ours", "lightgbm": "peers_lightgbm", "logistic": "peers_logistic"}
MEGABYTE = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is in bytes on macOS, in kilobytes elsewhere


def main(argv: list[str]) -> int:
    spec, folder = Spec(**json.loads(argv[0])), Path(argv[1])
    end_with_stdin()
    # Imported before the clock starts: TensorFlow takes seconds.
    fit = importlib.import_module(f"benchmarks.{MODELS[spec.model]}").fit
    try:
        began = time.monotonic()
        pipeline = pipeline_of(spec)
        train, tune = read_train(spec, pipeline)
        with tempfile.TemporaryDirectory() as scratch:
            predict, facts = fit(pipeline, train, tune, began, Path(scratch), log)
            seconds = time.monotonic() - began
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
            test = read_test(spec, pipeline)
            probabilities = predict(test.inputs)
    except SabuesoError as error:
        log(error.detail)
        return 1
    write_predictions(folder / f"{spec.name}.csv", test.names, test.labels, probabilities, pipeline.label_values)
    sizes = {"train": len(train.names), "tune": len(tune.names), "test": len(test.names)}
    facts = {"seconds": round(seconds, 1), "peak_mb": round(peak_mb), **sizes, **facts}
    (folder / f"{spec.name}.json").write_text(json.dumps(facts), encoding="utf-8")
    return 0


def end_with_stdin() -> None:
    """End this process when stdin closes; waits in a thread."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # sys.stdin.read would hold a lock while Python exits
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
