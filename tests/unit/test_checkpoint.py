"""How often the state of a fit is saved."""

import time
from types import SimpleNamespace

import numpy as np

import train.fit.checkpoint
from train.fit.checkpoint import Checkpoint


def test_a_state_that_takes_long_to_save_is_saved_less_often(store, clock, monkeypatch):
    monkeypatch.setattr(train.fit.checkpoint, "time", SimpleNamespace(monotonic=clock, time=time.time))
    checkpoint = Checkpoint(store, "flowers", "one", saved_at=clock.now)
    clock.now += 21
    assert checkpoint.is_due()
    put = store.put
    monkeypatch.setattr(store, "put", lambda *arguments: setattr(clock, "now", clock.now + 3) or put(*arguments))
    checkpoint.save({"weights": np.zeros(2)})
    clock.now += 59
    assert not checkpoint.is_due()
    clock.now += 2
    assert checkpoint.is_due()
