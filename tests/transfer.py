"""Transfer learning in a process of its own, since TensorFlow is dear: what each command found, as one JSON object.

`python transfer.py networks FOLDER NAME...`: backbones, their weights from files, their exports.
`python transfer.py refused FOLDER`: files that are not of the backbone.
`python transfer.py fit FOLDER`: weights learnt on some drawings, taken over for a few others, by a fit that dies once.
"""

import hashlib
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "functions"), str(HERE.parent / "scripts")]

import h5py  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

from common.bundle import NETWORK  # noqa: E402
from common.errors import TrainingFailed  # noqa: E402
from common.objects import FolderObjects  # noqa: E402
from common.pipelines import Pipeline, Weights, read_pipelines  # noqa: E402
from local.drawings import draw_pets  # noqa: E402
from train.bundle.export import compare_network, serving_network, write_network  # noqa: E402
from train.bundle.novelty import picture_novelty  # noqa: E402
from train.fit.backbones import KINDS, build_backbone, load_weights  # noqa: E402
from train.fit.checkpoint import Checkpoint  # noqa: E402
from train.fit.fit import Fit, predict_both  # noqa: E402
from train.fit.image import with_heat  # noqa: E402
from train.fit.kinds import answering, build, learns_first, make_batches, prepare  # noqa: E402

SIDE, FEW, MANY = 48, 64, 320
EPOCHS, DIES_IN, EPOCHS_BEFORE = 6, 5, 20
SMALL = "mobilenet_v3_small"
PACKAGES = {
    "mobilenet_v3_small": "mobilenet_v3",
    "mobilenet_v3_large": "mobilenet_v3",
    "efficientnet_v2_b0": "efficientnet_v2",
    "resnet50": "resnet50",
}


class Died(Exception):
    pass


def as_published(saved: Path, target: Path) -> None:
    """What stands in a model's HDF5 file as `model_weights`, alone: so keras.applications gives its files out."""
    with h5py.File(saved) as whole, h5py.File(target, "w") as alone:
        for name, group in whole["model_weights"].items():
            whole.copy(group, alone, name)
        for name, value in whole["model_weights"].attrs.items():
            alone.attrs[name] = value


def network(name: str, folder: Path) -> dict[str, Any]:
    """With random weights: does each kind of file give the network that keras.applications would make of it?"""
    keras.utils.set_random_seed(1)
    shape = (SIDE, SIDE, 3)
    source = KINDS[name].make(include_top=False, weights=None, input_shape=shape)
    pixels = np.random.default_rng(1).uniform(0, 255, (8, *shape)).astype(np.float32)
    package = getattr(keras.applications, PACKAGES[name])
    wanted = source(package.preprocess_input(pixels.copy()), training=False).numpy().mean(axis=(1, 2))
    model = build_backbone(name, 3, SIDE, weighted=True)
    fresh = model(pixels, training=False)[1].numpy()
    source.save(folder / "whole.h5")
    as_published(folder / "whole.h5", folder / "published_notop.h5")
    files = ["published_notop.h5"]
    if name == SMALL:
        source.save(folder / "whole.keras")
        source.save_weights(folder / "own.weights.h5")
        files += ["whole.h5", "whole.keras", "own.weights.h5"]
    apart = {}
    for file in files:
        keras.utils.set_random_seed(2)
        model = build_backbone(name, 3, SIDE, weighted=True)
        load_weights(model, folder / file, name)
        # With the training flag, too: nothing of a backbone that knows something may fall out or be measured anew.
        apart[file] = float(np.abs(model(pixels, training=True)[1].numpy() - wanted).max())
    whole = with_heat(model, SIDE, mirrored=True)
    embedding = predict_both(whole, pixels)[1]
    novelty = picture_novelty((pixels, embedding), np.arange(8) % 2, (pixels, embedding))
    serving = serving_network(whole, novelty, 1.0)
    write_network(serving, folder)
    found = {"apart": apart, "fresh": float(np.abs(fresh - wanted).max()), "large": float(np.abs(wanted).max())}
    found |= {"bytes": (folder / NETWORK).stat().st_size, "weights": model.count_params() + embedding.shape[1] ** 2}
    return {**found, "export": compare_network(serving, folder, pixels), "policy": keras.config.dtype_policy().name}


def networks(folder: Path, *names: str) -> dict[str, Any]:
    found = {}
    for name in names:
        (folder / name).mkdir()
        found[name] = network(name, folder / name)
        shutil.rmtree(folder / name)
    return found


def refused(folder: Path) -> dict[str, Any]:
    """What is said of files that are not of the backbone; and which backbones there are."""
    top = KINDS[SMALL].make(include_top=True, weights=None, classes=3, input_shape=(SIDE, SIDE, 3))
    top.save(folder / "whole.h5")
    as_published(folder / "whole.h5", folder / "top.h5")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save_weights(folder / "other.weights.h5")
    (folder / "text.h5").write_text("these are no weights")
    source = KINDS[SMALL].make(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    source.get_layer("conv_1_bn").gamma.assign(np.full(576, np.nan))
    source.save_weights(folder / "empty.weights.h5")
    found: dict[str, Any] = {"kinds": list(KINDS)}
    model = build_backbone(SMALL, 3, SIDE, weighted=True)
    for file in ("top.h5", "other.weights.h5", "text.h5", "empty.weights.h5"):
        try:
            load_weights(model, folder / file, SMALL)
        except TrainingFailed as error:
            found[file] = error.detail
    return found


def pictures(folder: Path, count: int, seed: int) -> tuple[list[bytes], np.ndarray]:
    draw_pets(folder, count, seed, size=64)
    files = [folder / kind / f"{number:04}.jpg" for number in range(count // 2) for kind in ("cat", "dog")]
    return [file.read_bytes() for file in files], np.arange(count) % 2


def a_fit(
    pipeline: Pipeline, part: Any, tune: Any, checkpoint: Checkpoint, weights: Path | None, epochs: int, dies: int = 0
) -> dict[str, Any]:
    """Epochs that were seen, how far the backbone was from its first weights after each, accuracies, plan."""
    keras.utils.set_random_seed(1)
    preparation = prepare(pipeline, part[0])
    model = build(pipeline, preparation, len(part[0]), weights)
    batches = make_batches(pipeline, preparation, *part)
    batches.epochs = epochs
    backbone = model.get_layer("backbone").network
    first = backbone.get_weights()
    head = model.get_layer("head").get_weights()[0]
    seen, moved, rates = [], [], []

    def on_epoch(done: int, total: int, facts: dict[str, float]) -> None:
        seen.append(done)
        moved.append(max(float(np.abs(a - b).max()) for a, b in zip(first, backbone.get_weights(), strict=True)))
        rates.append(float(fit.optimizer.learning_rate))
        if done == dies:
            raise Died

    encoded = preparation.encode(tune[0]), tune[1]
    fit = Fit(model, batches, encoded, checkpoint, on_epoch, learns_first(pipeline, model))
    found: dict[str, Any] = {"seen": seen, "moved": moved, "rates": rates, "batches": batches.steps}
    try:
        found["plan"] = fit.run(600)
    except Died:
        return {**found, "plan": checkpoint.plan()}
    kept = [one for one in backbone.weights if "moving" in one.name]
    before = [value for one, value in zip(backbone.weights, first, strict=True) if "moving" in one.name]
    found["norms_moved"] = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(before, kept, strict=True))
    found["head_moved"] = float(np.abs(head - model.get_layer("head").get_weights()[0]).max())
    found["steps"] = int(fit.optimizer.iterations)
    found["accuracies"] = [point["tune_accuracy"] for point in fit.curve]
    if weights is not None:
        answers = predict_both(answering(pipeline, model, preparation, encoded), encoded[0])[0]
        found["accuracy"] = float((answers.argmax(axis=1) == tune[1]).mean())
    backbone.save_weights(checkpoint.objects.root / "last.weights.h5")
    return found


def fits(folder: Path) -> dict[str, Any]:
    pets = read_pipelines(HERE.parent / "functions" / "pipelines")["pets"]
    plain = replace(pets, train=replace(pets.train, image_size=SIDE, backbone=SMALL))
    many, few = pictures(folder / "many", MANY, seed=1), pictures(folder / "few", FEW, seed=2)
    tune = pictures(folder / "tune", 200, seed=3)

    def checkpoint(name: str, plan: dict[str, int] | None = None) -> Checkpoint:
        one = Checkpoint(FolderObjects(folder / name), "jobs/pets/checkpoints/one/")
        one.due = lambda: plan is None  # type: ignore[method-assign]
        if plan is not None:
            one.save_plan(plan)
        return one

    before = a_fit(plain, many, tune, checkpoint("before", {"epochs": EPOCHS_BEFORE}), None, EPOCHS_BEFORE)
    file = folder / "before" / "last.weights.h5"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    weighted = replace(plain, train=replace(plain.train, weights=Weights(str(file), digest)))
    after = checkpoint("after")
    first = a_fit(weighted, few, tune, after, file, EPOCHS, dies=DIES_IN)
    second = a_fit(weighted, few, tune, after, file, EPOCHS)
    return {"before": before, "first": first, "second": second}


def main() -> None:
    command, folder, *names = sys.argv[1:]
    print(json.dumps({"networks": networks, "refused": refused, "fit": fits}[command](Path(folder), *names)))


if __name__ == "__main__":
    main()
