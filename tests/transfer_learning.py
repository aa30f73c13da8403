"""Transfer learning, as its own process since TensorFlow is slow to load. Prints the results as one JSON object.

`python transfer_learning.py networks FOLDER NAME...`: backbones of keras.applications with weights from files.
`python transfer_learning.py refused FOLDER`: weights of other networks, and a failing download.
`python transfer_learning.py lite FOLDER`: EfficientNet-Lite0 and the ImageNet classifier of its weights.
`python transfer_learning.py fit FOLDER`: fits to drawings: few pictures, too little time, rare labels, a crash.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_HOME"] = f"{sys.argv[2]}/keras"  # where Keras caches downloads
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "functions"), str(HERE.parent / "scripts")]

import h5py  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.datasets import load_sample_images  # noqa: E402

from common.inference.bundle import NETWORK  # noqa: E402
from common.inference.pictures import resize_array, square_view  # noqa: E402
from common.pipeline_files import read_pipelines  # noqa: E402
from common.pipelines import INSTALLED, Pipeline  # noqa: E402
from common.storage.folder import FolderStore  # noqa: E402
from local.drawings import draw_pets  # noqa: E402
from train.errors import TrainingFailed  # noqa: E402
from train.export.network import compare_network, serving_network, write_network  # noqa: E402
from train.fit import pretrained  # noqa: E402
from train.fit.backbones import KERAS, build_backbone, freeze, last_stage  # noqa: E402
from train.fit.checkpoint import Checkpoint  # noqa: E402
from train.fit.efficientnet_lite import build_efficientnet_lite0, pretrained_arrays  # noqa: E402
from train.fit.fitted import FitOptions  # noqa: E402
from train.fit.heatmap import with_heat  # noqa: E402
from train.fit.image_batches import FineTuning  # noqa: E402
from train.fit.novelty import nearest_label  # noqa: E402
from train.fit.preprocessing import Labelled, prepare  # noqa: E402
from train.fit.training_loop import predict_joined  # noqa: E402

SIDE = 64


class Crash(Exception):
    pass


SMALL = "mobilenet_v3_small"
PACKAGES = {
    "mobilenet_v3_small": "mobilenet_v3",
    "mobilenet_v3_large": "mobilenet_v3",
    "efficientnet_v2_b0": "efficientnet_v2",
    "resnet50": "resnet50",
}


def as_published(saved: Path, target: Path) -> None:
    """Write only the `model_weights` of a model's HDF5 file: the format in which keras.applications publishes files."""
    with h5py.File(saved) as model, h5py.File(target, "w") as published:
        for name, group in model["model_weights"].items():
            model.copy(group, published, name)
        for name, value in model["model_weights"].attrs.items():
            published.attrs[name] = value


def exported(network: keras.Model, pixels: np.ndarray, folder: Path) -> dict[str, Any]:
    """The exported network's difference from Keras, and its size."""
    model = with_heat(pretrained.build_classifier(network, 3), SIDE)
    embedding = predict_joined(model, pixels)[1]
    serving = serving_network(model, nearest_label(embedding, np.arange(len(pixels)) % 2), 1.0)
    write_network(serving, folder)
    size = (folder / NETWORK).stat().st_size
    return {
        "bytes": size,
        "weights": model.count_params(),
        "export_difference": compare_network(serving, folder, pixels),
    }


def network(name: str, folder: Path) -> dict[str, Any]:
    """Loads random weights from each kind of file and compares with the network of keras.applications."""
    keras.utils.set_random_seed(1)
    shape = (SIDE, SIDE, 3)
    source = KERAS[name](include_top=False, weights=None, input_shape=shape)
    pixels = np.random.default_rng(1).uniform(0, 255, (8, *shape)).astype(np.float32)
    package = getattr(keras.applications, PACKAGES[name])
    expected = source(package.preprocess_input(pixels.copy()), training=False).numpy()
    source.save(folder / "whole.h5")
    as_published(folder / "whole.h5", folder / "published_notop.h5")
    files = ["published_notop.h5"]
    if name == SMALL:
        source.save(folder / "whole.keras")
        source.save_weights(folder / "own.weights.h5")
        files += ["whole.h5", "whole.keras", "own.weights.h5"]
    differences = {}
    for file in files:
        model = build_backbone(name, SIDE, folder / file)
        differences[file] = float(np.abs(model(pixels, training=False).numpy() - expected).max())
    freeze(model, trainable=last_stage(model))
    norms = [layer for layer in model.layers[-1].layers if isinstance(layer, keras.layers.BatchNormalization)]
    return {
        "differences": differences,
        "largest_output": float(np.abs(expected).max()),
        "trainable": [len(model.trainable_variables), len(model.variables)],
        "batch_norms_trainable": any(layer.trainable for layer in norms),
        **exported(model, pixels, folder),
    }


def networks(folder: Path, *names: str) -> dict[str, Any]:
    results = {}
    for name in names:
        (folder / name).mkdir()
        results[name] = network(name, folder / name)
        shutil.rmtree(folder / name)
    return results


def refused(folder: Path) -> dict[str, Any]:
    """The error messages for files of other networks, and without internet access."""
    top = KERAS[SMALL](include_top=True, weights=None, classes=3, input_shape=(SIDE, SIDE, 3))
    top.save(folder / "whole.h5")
    as_published(folder / "whole.h5", folder / "top.h5")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save_weights(folder / "other.weights.h5")
    (folder / "text.h5").write_text("these are no weights")
    source = KERAS[SMALL](include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    source.get_layer("conv_1_bn").gamma.assign(np.full(576, np.nan))
    source.save_weights(folder / "empty.weights.h5")
    errors: dict[str, Any] = {"backbones": [INSTALLED, *KERAS]}
    os.environ["https_proxy"] = "http://127.0.0.1:9"  # nothing listens there
    for file in ("top.h5", "other.weights.h5", "text.h5", "empty.weights.h5", None):
        try:
            build_backbone(SMALL, SIDE, file and folder / file)
        except TrainingFailed as error:
            errors[file or "download"] = error.detail
    return errors


def lite(folder: Path) -> dict[str, Any]:
    """Classifies two photographs with the ImageNet classifier of the weights, to show that the network fits them."""
    photos = [resize_array(image, square_view(224)) for image in load_sample_images().images]
    embeddings = build_efficientnet_lite0(224)(np.stack(photos).astype(np.float32)).numpy().mean(axis=(1, 2))
    arrays = pretrained_arrays()
    classes = (embeddings @ arrays["_fc.weight"].T + arrays["_fc.bias"]).argmax(axis=1)
    pixels = np.random.default_rng(1).uniform(0, 255, (8, SIDE, SIDE, 3)).astype(np.float32)
    return {"classes": classes.tolist(), **exported(build_backbone(INSTALLED, SIDE), pixels, folder)}


def pictures(folder: Path, count: int, seed: int) -> Labelled:
    draw_pets(folder, count, seed, size=SIDE)
    files = [folder / label / f"{number:04}.jpg" for number in range(count // 2) for label in ("cat", "dog")]
    return [file.read_bytes() for file in files], np.arange(count) % 2


def fit(
    pipeline: Pipeline,
    train: Labelled,
    tune: Labelled,
    folder: Path,
    seconds: float = 600,
    test: Labelled | None = None,
    epochs: int = 10,
    crash_epoch: int = 0,
) -> dict[str, Any]:
    """Parameters and epochs of a fit, its accuracy and loss (on `test`, by default tune), cross-validated accuracy.

    `crash_epoch`: the epoch in which the fit crashes; its state is saved after every epoch then.
    """
    checkpoint = Checkpoint(FolderStore(folder / "store"), "pets", "one")
    checkpoint.is_due = lambda: crash_epoch > 0  # type: ignore[method-assign]
    epochs_run: list[int] = []

    def on_epoch(done: int, total: int, metrics: dict[str, float]) -> None:
        epochs_run.append(done)
        if done == crash_epoch:
            raise Crash

    deadline = time.monotonic() + seconds
    options = FitOptions(checkpoint, folder / "pictures", deadline, on_epoch, lambda stage, share: None, epochs=epochs)
    preprocessing = prepare(pipeline, train[0], folder / "pictures")
    try:
        fitted = pretrained.fit_pretrained(pipeline, preprocessing, train, tune, options)
    except Crash:
        return {"epochs": epochs_run}
    inputs, labels = test or tune
    logits = predict_joined(fitted.model, preprocessing.encode(inputs))[0]
    result = {
        "params": fitted.params,
        "curve": len(fitted.curve),
        "epochs": epochs_run,
        "classes": logits.shape[1],
        "finite": bool(np.isfinite(logits).all()),
        "accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "loss": float(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True).numpy().mean()),
    }
    if fitted.unseen:
        result["cross_validated"] = float((fitted.unseen.logits.argmax(axis=1) == fitted.unseen.labels).mean())
    return result


def fits(folder: Path) -> dict[str, Any]:
    shipped = read_pipelines(HERE.parent / "functions" / "pipelines")["pets"]
    pets = shipped.model_copy(update={"train": shipped.train.model_copy(update={"image_size": SIDE})})
    every, tune = pictures(folder / "train", 600, seed=1), pictures(folder / "tune", 100, seed=2)
    train = every[0][:300], every[1][:300]
    # Ten tune examples can't show a gain from fine-tuning, so that the head stays; a hundred can.
    ten = tune[0][:10], tune[1][:10]
    results = {"frozen": fit(pets, train, ten, folder / "frozen", test=tune)}
    results["crashed"] = fit(pets, train, tune, folder / "tuned", epochs=6, crash_epoch=3)
    results["tuned"] = fit(pets, train, tune, folder / "tuned", epochs=6)
    rate, FineTuning.learning_rate = FineTuning.learning_rate, 0.1
    results["harmed"] = fit(pets, train, tune, folder / "harmed", epochs=2)
    FineTuning.learning_rate = rate
    results["few"] = fit(pets, (train[0][:20], train[1][:20]), ten, folder / "few", test=tune)
    # A pipeline may list labels that have no or hardly any pictures yet.
    horse, cow = (pets.labels[0].model_copy(update={"value": value}) for value in ("horse", "cow"))
    target = pets.target.model_copy(update={"labels": [*pets.labels, horse, cow]})
    rare_labels = train[1][:200].copy()
    rare_labels[0] = 2
    four_labels = pets.model_copy(update={"target": target})
    results["rare"] = fit(four_labels, (train[0][:200], rare_labels), ten, folder / "rare", test=tune)
    results["no time"] = fit(pets, every, tune, folder / "no-time", seconds=0)
    return results


def main() -> None:
    command, folder, *names = sys.argv[1:]
    commands = {"networks": networks, "refused": refused, "lite": lite, "fit": fits}
    print(json.dumps(commands[command](Path(folder), *names)))


if __name__ == "__main__":
    main()
