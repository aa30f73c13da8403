"""Transfer learning in a process of its own, since TensorFlow is dear: what each command found, as one JSON object.

`python transfer.py networks FOLDER NAME...`: networks of keras.applications, their weights from files, their exports.
`python transfer.py refused FOLDER`: files that are not of the backbone, and a download without a network.
`python transfer.py lite FOLDER`: EfficientNet-Lite0 beside what its weights were published for.
`python transfer.py fit FOLDER`: drawings by a frozen network; too few, too many for the time, rare labels.
"""

import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_HOME"] = f"{sys.argv[2]}/keras"  # where Keras keeps what it has downloaded
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "functions"), str(HERE.parent / "scripts")]

import h5py  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.datasets import load_sample_images  # noqa: E402

from common.bundle import NETWORK  # noqa: E402
from common.errors import TrainingFailed  # noqa: E402
from common.objects import FolderObjects  # noqa: E402
from common.pictures import resize_array, square_view  # noqa: E402
from common.pipeline_keys import INSTALLED  # noqa: E402
from common.pipelines import Pipeline, read_pipelines  # noqa: E402
from local.drawings import draw_pets  # noqa: E402
from train.bundle.export import compare_network, serving_network, write_network  # noqa: E402
from train.bundle.novelty import nearest_label  # noqa: E402
from train.fit import pretrained  # noqa: E402
from train.fit.backbones import KERAS, build_backbone, freeze, last_stage  # noqa: E402
from train.fit.checkpoint import Checkpoint  # noqa: E402
from train.fit.efficientnet_lite import build_efficientnet_lite0, pretrained_arrays  # noqa: E402
from train.fit.fit import predict_both  # noqa: E402
from train.fit.heat import with_heat  # noqa: E402
from train.fit.image_batches import FineTuning  # noqa: E402
from train.fit.preparation import Part, Terms, prepare  # noqa: E402

SIDE = 64


class Died(Exception):
    pass


SMALL = "mobilenet_v3_small"
PACKAGES = {
    "mobilenet_v3_small": "mobilenet_v3",
    "mobilenet_v3_large": "mobilenet_v3",
    "efficientnet_v2_b0": "efficientnet_v2",
    "resnet50": "resnet50",
}


def as_published(saved: Path, target: Path) -> None:
    """What stands in a model's HDF5 file as `model_weights`, alone: so keras.applications gives its files out."""
    with h5py.File(saved) as whole, h5py.File(target, "w") as alone:
        for name, group in whole["model_weights"].items():
            whole.copy(group, alone, name)
        for name, value in whole["model_weights"].attrs.items():
            alone.attrs[name] = value


def exported(network: keras.Model, pixels: np.ndarray, folder: Path) -> dict[str, Any]:
    """How far the exported network is from Keras, and how large."""
    whole = with_heat(pretrained.build_classifier(network, 3), SIDE)
    embedding = predict_both(whole, pixels)[1]
    serving = serving_network(whole, nearest_label(embedding, np.arange(len(pixels)) % 2), 1.0)
    write_network(serving, folder)
    size = (folder / NETWORK).stat().st_size
    return {"bytes": size, "weights": whole.count_params(), "export": compare_network(serving, folder, pixels)}


def network(name: str, folder: Path) -> dict[str, Any]:
    """With random weights: does each kind of file give the network that keras.applications would make of it?"""
    keras.utils.set_random_seed(1)
    shape = (SIDE, SIDE, 3)
    source = KERAS[name](include_top=False, weights=None, input_shape=shape)
    pixels = np.random.default_rng(1).uniform(0, 255, (8, *shape)).astype(np.float32)
    package = getattr(keras.applications, PACKAGES[name])
    wanted = source(package.preprocess_input(pixels.copy()), training=False).numpy()
    source.save(folder / "whole.h5")
    as_published(folder / "whole.h5", folder / "published_notop.h5")
    files = ["published_notop.h5"]
    if name == SMALL:
        source.save(folder / "whole.keras")
        source.save_weights(folder / "own.weights.h5")
        files += ["whole.h5", "whole.keras", "own.weights.h5"]
    apart = {}
    for file in files:
        model = build_backbone(name, SIDE, folder / file)
        apart[file] = float(np.abs(model(pixels, training=False).numpy() - wanted).max())
    freeze(model, but=last_stage(model))
    norms = [one for one in model.layers[-1].layers if isinstance(one, keras.layers.BatchNormalization)]
    return {
        "apart": apart,
        "large": float(np.abs(wanted).max()),
        "learning": [len(model.trainable_variables), len(model.variables)],
        "norms_learn": any(one.trainable for one in norms),
        **exported(model, pixels, folder),
    }


def networks(folder: Path, *names: str) -> dict[str, Any]:
    found = {}
    for name in names:
        (folder / name).mkdir()
        found[name] = network(name, folder / name)
        shutil.rmtree(folder / name)
    return found


def refused(folder: Path) -> dict[str, Any]:
    """What is said of files that are not of the backbone, and where nothing can be downloaded."""
    top = KERAS[SMALL](include_top=True, weights=None, classes=3, input_shape=(SIDE, SIDE, 3))
    top.save(folder / "whole.h5")
    as_published(folder / "whole.h5", folder / "top.h5")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save_weights(folder / "other.weights.h5")
    (folder / "text.h5").write_text("these are no weights")
    source = KERAS[SMALL](include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    source.get_layer("conv_1_bn").gamma.assign(np.full(576, np.nan))
    source.save_weights(folder / "empty.weights.h5")
    found: dict[str, Any] = {"kinds": [INSTALLED, *KERAS]}
    os.environ["https_proxy"] = "http://127.0.0.1:9"  # nobody answers there
    for file in ("top.h5", "other.weights.h5", "text.h5", "empty.weights.h5", None):
        try:
            build_backbone(SMALL, SIDE, file and folder / file)
        except TrainingFailed as error:
            found[file or "download"] = error.detail
    return found


def lite(folder: Path) -> dict[str, Any]:
    """What ImageNet's own classifier says of two photographs: the network is the one that the weights are of."""
    photos = [resize_array(one, square_view(224)) for one in load_sample_images().images]
    embeddings = build_efficientnet_lite0(224)(np.stack(photos).astype(np.float32)).numpy().mean(axis=(1, 2))
    arrays = pretrained_arrays()
    classes = (embeddings @ arrays["_fc.weight"].T + arrays["_fc.bias"]).argmax(axis=1)
    pixels = np.random.default_rng(1).uniform(0, 255, (8, SIDE, SIDE, 3)).astype(np.float32)
    return {"classes": classes.tolist(), **exported(build_backbone(INSTALLED, SIDE), pixels, folder)}


def pictures(folder: Path, count: int, seed: int) -> Part:
    draw_pets(folder, count, seed, size=SIDE)
    files = [folder / kind / f"{number:04}.jpg" for number in range(count // 2) for kind in ("cat", "dog")]
    return [file.read_bytes() for file in files], np.arange(count) % 2


def a_fit(
    pipeline: Pipeline,
    train: Part,
    tune: Part,
    folder: Path,
    seconds: float = 600,
    asked: Part | None = None,
    epochs: int = 10,
    dies: int = 0,
) -> dict[str, Any]:
    """The plan, the accuracy on what is asked (tune), what was said on the way, and what cross-validation found."""
    said: list[str] = []
    checkpoint = Checkpoint(FolderObjects(folder / "store"), "jobs/pets/checkpoints/one/")
    checkpoint.due = lambda: dies > 0  # type: ignore[method-assign]
    seen: list[int] = []

    def on_epoch(done: int, total: int, facts: dict[str, float]) -> None:
        seen.append(done)
        if done == dies:
            raise Died

    until = time.monotonic() + seconds
    terms = Terms(
        checkpoint, folder / "pictures", until, on_epoch, lambda stage, share: said.append(stage), epochs=epochs
    )
    preparation = prepare(pipeline, train[0], folder / "pictures")
    try:
        fitted = pretrained.fit_pretrained(pipeline, preparation, train, tune, terms)
    except Died:
        return {"seen": seen}
    inputs, labels = asked or tune
    logits = predict_both(fitted.model, preparation.encode(inputs))[0]
    found = {"plan": fitted.plan, "said": said, "curve": len(fitted.curve), "seen": seen, "classes": logits.shape[1]}
    if fitted.unseen:
        found["unseen"] = float((fitted.unseen.logits.argmax(axis=1) == fitted.unseen.labels).mean())
    right = float((logits.argmax(axis=1) == labels).mean())
    return {**found, "finite": bool(np.isfinite(logits).all()), "accuracy": right}


def fits(folder: Path) -> dict[str, Any]:
    shipped = read_pipelines(HERE.parent / "functions" / "pipelines")["pets"]
    pets = replace(shipped, train=replace(shipped.train, image_size=SIDE))
    train, tune = pictures(folder / "train", 600, seed=1), pictures(folder / "tune", 200, seed=2)
    # Ten of the tune part can't show that a last stage has gained; two hundred can.
    found = {"frozen": a_fit(pets, train, (tune[0][:10], tune[1][:10]), folder / "frozen", asked=tune)}
    # It dies once, in its fifth epoch, and is taken up.
    found["dying"] = a_fit(pets, train, tune, folder / "tuned", dies=5)
    found["tuned"] = a_fit(pets, train, tune, folder / "tuned")
    rate, FineTuning.learning_rate = FineTuning.learning_rate, 0.1
    found["harmed"] = a_fit(pets, train, tune, folder / "harmed", epochs=2)
    FineTuning.learning_rate = rate
    found["few"] = a_fit(pets, (train[0][:20], train[1][:20]), tune, folder / "few")
    # A pipeline may name labels that no picture has yet, or hardly any.
    more = replace(
        pets, labels=(*pets.labels, replace(pets.labels[0], value="horse"), replace(pets.labels[0], value="cow"))
    )
    rare = train[1][:200].copy()
    rare[0] = 2
    found["rare"] = a_fit(more, (train[0][:200], rare), tune, folder / "rare")
    found["no time"] = a_fit(pets, train, tune, folder / "no-time", seconds=0)
    return found


def main() -> None:
    command, folder, *names = sys.argv[1:]
    commands = {"networks": networks, "refused": refused, "lite": lite, "fit": fits}
    print(json.dumps(commands[command](Path(folder), *names)))


if __name__ == "__main__":
    main()
