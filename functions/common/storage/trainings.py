"""Whether a training of a pipeline is running, as far as the store knows."""

from __future__ import annotations

from common.storage import keys
from common.storage.executions import newest
from common.storage.leases import holder_nonce
from common.storage.object_store import ObjectStore
from common.storage.training_record import TrainingRecord


def is_training(store: ObjectStore, pipeline: str) -> bool:
    """Whether a training holds the lease and has not recorded its end."""
    if holder_nonce(store, keys.lease(pipeline, "train")) is None:
        return False
    last = newest(store, pipeline, TrainingRecord)
    return last is None or last.record.is_running  # without a record it is just starting
