"""A bundle of a network that learned for some epochs; for scripts in a process of their own, TensorFlow is dear."""

from pathlib import Path

from common.bundle import Bundle, sign_bundle
from common.objects import FolderObjects
from common.pipelines import Pipeline
from train.bundle.make_bundle import make_bundle
from train.fit.checkpoint import Checkpoint
from train.fit.make_network import make_network
from train.fit.preparation import Part

KEY = "of a test"
NEVER_S = 3600.0


def fitted_bundle(pipeline: Pipeline, train: Part, tune: Part, epochs: int, folder: Path) -> Bundle:
    """As train makes it, in an empty folder.

    Epochs are given, and no time ends them: what is learned depends on no machine's speed.
    """
    checkpoint = Checkpoint(FolderObjects(folder / "store"), "jobs/one/checkpoints/one/")
    checkpoint.save_plan({"epochs": epochs})
    fitted = make_network(pipeline, train, tune, NEVER_S, checkpoint, folder / "pictures", lambda *_: None)
    target = folder / "bundle"
    target.mkdir()
    sign_bundle(target, make_bundle(pipeline, fitted, train, tune, target)[0], KEY)
    return Bundle(target, KEY)
