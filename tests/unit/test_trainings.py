"""A training is running while it holds the lease and has not recorded its end."""

from common.storage import keys
from common.storage.executions import begin
from common.storage.leases import acquire
from common.storage.training_record import TrainingRecord
from common.storage.trainings import is_training


def test_a_training_is_running_from_its_lease_to_its_recorded_end(store):
    assert not is_training(store, "flowers")
    lease = acquire(store, keys.lease("flowers", "train"), "train flowers", 60)
    assert is_training(store, "flowers")
    execution = begin(store, "flowers", TrainingRecord.new())
    assert is_training(store, "flowers")
    execution.end("finished")
    assert not is_training(store, "flowers")
    lease.release()


def test_a_record_without_a_lease_is_of_a_training_that_died(store):
    begin(store, "flowers", TrainingRecord.new())
    assert not is_training(store, "flowers")
