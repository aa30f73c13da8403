"""When the state of a fit is written."""

import time
from types import SimpleNamespace

import numpy as np

import train.fit.checkpoint
from train.fit.checkpoint import Checkpoint


def test_a_state_that_takes_long_to_write_is_written_less_often(store, clock, monkeypatch):
    monkeypatch.setattr(train.fit.checkpoint, "time", SimpleNamespace(monotonic=clock, time=time.time))
    checkpoint = Checkpoint(store, "jobs/p/checkpoints/one/", saved=clock.now)
    clock.now += 21
    assert checkpoint.due()
    put = store.put
    monkeypatch.setattr(store, "put", lambda *given: setattr(clock, "now", clock.now + 3) or put(*given))
    checkpoint.save({"one": np.zeros(2)})
    clock.now += 59
    assert not checkpoint.due()
    clock.now += 2
    assert checkpoint.due()
