"""Makes tiny real bundles: `python bundles.py FOLDER` (in a process of its own: TensorFlow takes seconds to import).

The networks are not fitted but set: the logit of a label falls with the distance to its mean.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "functions")]

import keras  # noqa: E402
import numpy as np  # noqa: E402

from common.bundle import NETWORK, Bundle, sign_bundle  # noqa: E402
from common.features import read_row  # noqa: E402
from common.network import Network, statuses  # noqa: E402
from common.pipelines import Pipeline, read_pipelines  # noqa: E402
from flowers import as_record, draw, encode, flower_rows  # noqa: E402
from train.bundle.export import compare_network, write_golden, write_network  # noqa: E402
from train.bundle.novelty import nearest_label  # noqa: E402
from train.fit.preparation import Preparation, prepare  # noqa: E402
from train.judge.metrics import evaluate  # noqa: E402

SIZE = 32
KEY = "the-bundle-key"


def _network(encoded: np.ndarray, labels: np.ndarray, picture: bool) -> tuple[keras.Model, float]:
    """Inputs -> probabilities and novelty, and the novelty that nothing known goes beyond; pictures by mean colour."""
    inputs = keras.Input(encoded.shape[1:], name="inputs")
    embedding = inputs
    if picture:
        embedding = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
        encoded = encoded.mean(axis=(1, 2)) / 255
    means = np.stack([encoded[labels == label].mean(axis=0) for label in np.unique(labels)])
    if not picture:
        means[:, 1:] = 0  # the first column alone tells the label
    dense = keras.layers.Dense(len(means), activation="softmax", name="probabilities")
    novelty = nearest_label(encoded, labels)
    model = keras.Model(inputs, {"probabilities": dense(embedding), "novelty": novelty(embedding)})
    dense.set_weights([20 * means.T, -10 * (means**2).sum(axis=1)])
    return model, float(np.max(novelty(encoded)))


def make_bundle(folder: Path, pipeline: Pipeline, raw: list[Any], labels: np.ndarray, preparation: Preparation) -> None:
    """Through the functions that train uses itself."""
    folder.mkdir(parents=True)
    encoded = preparation.encode(raw).astype(np.float32)
    serving, farthest = _network(encoded, labels, pipeline.kind == "image")
    write_network(serving, folder)
    compare_network(serving, folder, encoded)
    write_golden(preparation, folder, raw, pipeline.input_columns())
    thresholds = {"sure": 0.8, "error": 0.02, "novelty": 1.05 * farthest}
    probabilities, novelty = Network(folder / NETWORK).predict(encoded)
    told = statuses(probabilities, novelty, thresholds)
    metrics, per_class = evaluate(probabilities, labels, pipeline.label_values, told)
    columns = pipeline.input_columns()
    for place, column in enumerate(columns):
        column["examples"] = [row[place] for row in raw[:3]]
        if column["type"] == "category":
            column["known"] = preparation.features["columns"][place]["vocabulary"]
    contract = {
        "pipeline": pipeline.name,
        "kind": pipeline.kind,
        "title": pipeline.title,
        "labels": [label.as_dict() for label in pipeline.labels],
        "target": pipeline.target,
        "columns": columns,
        "features": preparation.features,
        "split": {"salt": "sabueso-1", "fractions": [0.7, 0.1, 0.2]},
        "temperature": 1.0,
        "thresholds": thresholds,
        "metrics": metrics,
        "per_class": per_class,
        "snapshot": "0" * 64,
        "settings": "1" * 64,
        "examples": len(raw),
        "made_up": True,
        "trained_at": "2026-01-01T00:00:00.000Z",
        "git_commit": "unknown",
    }
    sign_bundle(folder, contract, KEY)
    Bundle(folder, KEY).check_golden()


def main(target: Path) -> None:
    flowers = read_pipelines(HERE / "pipelines")["flowers"]
    rows = flower_rows(90)
    raw = [read_row(as_record(row), flowers.input_columns())[0] for row in rows]
    labels = np.array([flowers.label_values.index(row[1]) for row in rows])
    make_bundle(target / "flowers", flowers, raw, labels, prepare(flowers, raw))
    pets = read_pipelines(HERE.parent / "functions" / "pipelines")["pets"]
    files = [encode(draw(label, number)) for number in range(30) for label in pets.label_values]
    make_bundle(target / "pets", pets, files, np.arange(60) % 2, Preparation("image", {"image_size": SIZE}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
