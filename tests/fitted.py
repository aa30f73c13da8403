"""Makes a bundle from a network fitted for a few epochs; for scripts that run as processes of their own."""

from pathlib import Path

from common.inference.bundle import Bundle
from common.inference.contract import Interval, Metrics
from common.pipelines import Pipeline
from common.storage.folder import FolderStore
from train.export.make_bundle import make_bundle
from train.export.make_contract import make_contract
from train.export.sign_bundle import sign_bundle
from train.fit.checkpoint import Checkpoint
from train.fit.fit_network import fit_network
from train.fit.fitted import FitOptions, fit_deadline
from train.fit.preprocessing import Labelled
from train.training_key import TrainingKey

KEY = "the key of a test"
NO_LIMIT_S = 3600.0
UNMEASURED = Interval(value=0.0, low=0.0, high=1.0)


def fitted_bundle(pipeline: Pipeline, train: Labelled, tune: Labelled, epochs: int, folder: Path) -> Bundle:
    """A bundle made with the functions that train uses, in an empty folder.

    The number of epochs is fixed and no time limit ends them, so the result does not depend on the machine's speed.
    """
    checkpoint = Checkpoint(FolderStore(folder / "store"), pipeline.name, "one")
    deadline = fit_deadline(NO_LIMIT_S)
    options = FitOptions(
        checkpoint, folder / "pictures", deadline, lambda *_: None, lambda stage, share: None, epochs=epochs
    )
    fitted = fit_network(pipeline, train, tune, options)
    target = folder / "bundle"
    target.mkdir()
    export = make_bundle(pipeline, fitted, train, tune, target)
    metrics = Metrics(
        holdout_size=0,
        accuracy=UNMEASURED,
        macro_f1=UNMEASURED,
        log_loss=UNMEASURED,
        calibration_error=UNMEASURED,
    )
    contract = make_contract(
        pipeline,
        fitted.preprocessing.features,
        export,
        metrics,
        [],
        TrainingKey("0" * 64, "1" * 64),
        examples=len(train[0]) + len(tune[0]),
        made_up=True,
        git_commit="unknown",
    )
    sign_bundle(target, contract, KEY)
    return Bundle(target, KEY)
