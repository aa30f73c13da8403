"""The decoded pictures and the checkpoint of a training, without leftovers of unfinished ones."""

from __future__ import annotations

from pathlib import Path

from train.context import TrainingContext
from train.fit.checkpoint import Checkpoint
from train.fit.decoded_pictures import remove_others
from train.fit.weight_file import remove_partial_downloads
from train.training_key import TrainingKey


def prepare_workspace(context: TrainingContext, key: TrainingKey) -> tuple[Path, Checkpoint]:
    """The folder for this training's decoded pictures, and its checkpoint; removes the pipeline's other ones.

    Call it under the lease. Raises StoreUnavailable once the retries are over.
    """
    training = f"{key.snapshot[:24]}-{key.settings_fingerprint[:8]}"
    pictures = context.pictures / training
    checkpoint = Checkpoint(context.store, context.pipeline.name, training, context.retry)
    remove_others(pictures)
    remove_partial_downloads(context.settings)
    context.retry(checkpoint.clear_other_states)
    return pictures, checkpoint
