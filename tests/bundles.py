"""Makes tiny real bundles: `python bundles.py FOLDER` (a script: TensorFlow takes seconds to import).

The weights are set, not fitted: the logit of a label falls with the distance to its mean.
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

from common.inference.bundle import NETWORK, Bundle  # noqa: E402
from common.inference.contract import (  # noqa: E402
    ContractColumn,
    PictureFeatures,
    RowFeatures,
    Thresholds,
)
from common.inference.features import read_row  # noqa: E402
from common.inference.network import Network  # noqa: E402
from common.inference.predictions import statuses  # noqa: E402
from common.pipeline_files import read_pipelines  # noqa: E402
from common.pipelines import Pipeline  # noqa: E402
from flowers import as_record, draw, encode, flower_rows  # noqa: E402
from train.export.make_bundle import Export  # noqa: E402
from train.export.make_contract import make_contract  # noqa: E402
from train.export.network import compare_network, write_golden, write_network  # noqa: E402
from train.export.sign_bundle import sign_bundle  # noqa: E402
from train.fit.novelty import nearest_label  # noqa: E402
from train.fit.preprocessing import Preprocessing, prepare  # noqa: E402
from train.statistics.metrics import evaluate  # noqa: E402
from train.training_key import TrainingKey  # noqa: E402

SIZE = 32
KEY = "the-bundle-key"


def _network(encoded: np.ndarray, labels: np.ndarray, picture: bool) -> tuple[keras.Model, float]:
    """Inputs -> probabilities and novelty; also the largest novelty of the given inputs. Pictures: by mean colour."""
    inputs = keras.Input(encoded.shape[1:], name="inputs")
    embedding = inputs
    if picture:
        embedding = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
        encoded = encoded.mean(axis=(1, 2)) / 255
    means = np.stack([encoded[labels == label].mean(axis=0) for label in np.unique(labels)])
    if not picture:
        means[:, 1:] = 0  # only the first column decides the label
    dense = keras.layers.Dense(len(means), activation="softmax", name="probabilities")
    novelty = nearest_label(encoded, labels)
    model = keras.Model(inputs, {"probabilities": dense(embedding), "novelty": novelty(embedding)})
    dense.set_weights([20 * means.T, -10 * (means**2).sum(axis=1)])
    return model, float(np.max(novelty(encoded)))


def make_bundle(
    folder: Path, pipeline: Pipeline, raw: list[Any], labels: np.ndarray, preprocessing: Preprocessing
) -> None:
    """Make a bundle with the functions of train."""
    folder.mkdir(parents=True)
    encoded = preprocessing.encode(raw).astype(np.float32)
    serving, farthest = _network(encoded, labels, pipeline.kind == "image")
    write_network(serving, folder)
    compare_network(serving, folder, encoded)
    write_golden(preprocessing, folder, raw, [column.name for column in pipeline.inputs])
    thresholds = Thresholds(sure=0.8, error=0.02, novelty=1.05 * farthest)
    probabilities, novelty = Network(folder / NETWORK).predict(encoded)
    texts = statuses(probabilities, novelty, thresholds)
    metrics, per_class = evaluate(probabilities, labels, pipeline.label_values, texts)
    contract = make_contract(
        pipeline,
        preprocessing.features,
        Export(_columns(pipeline, raw, preprocessing), 1.0, thresholds, 0.0),
        metrics,
        per_class,
        TrainingKey("0" * 64, "1" * 64),
        examples=len(raw),
        made_up=True,
        git_commit="unknown",
    ).model_copy(update={"trained_at": "2026-01-01T00:00:00.000Z"})
    sign_bundle(folder, contract, KEY)
    Bundle(folder, KEY).check_golden()


def _columns(pipeline: Pipeline, raw: list[Any], preprocessing: Preprocessing) -> list[ContractColumn]:
    if not isinstance(preprocessing.features, RowFeatures):
        return []
    return [
        ContractColumn(
            **column.model_dump(), examples=[row[place] for row in raw[:3]], known=getattr(feature, "vocabulary", None)
        )
        for place, (column, feature) in enumerate(zip(pipeline.inputs, preprocessing.features.columns, strict=True))
    ]


def main(target: Path) -> None:
    flowers = read_pipelines(HERE / "pipelines")["flowers"]
    rows = flower_rows(90)
    raw = [read_row(as_record(row), flowers.inputs)[0] for row in rows]
    labels = np.array([flowers.label_values.index(row[1]) for row in rows])
    make_bundle(target / "flowers", flowers, raw, labels, prepare(flowers, raw))
    pets = read_pipelines(HERE.parent / "functions" / "pipelines")["pets"]
    files = [encode(draw(label, number)) for number in range(30) for label in pets.label_values]
    make_bundle(target / "pets", pets, files, np.arange(60) % 2, Preprocessing(PictureFeatures(image_size=SIZE)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
