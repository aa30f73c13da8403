"""Leases over every implementation of the object store: a local folder and S3 (a real MinIO)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from common.errors import AlreadyRunning, StoreUnavailable
from common.leases import acquire, held_by, take_over
from common.objects import Objects
from conftest import wait_until
from integration.conftest import WRITERS, OpenStore, run_at_once

pytestmark = pytest.mark.integration


def test_a_lease_is_held_by_one_until_released(store: Objects) -> None:
    key = "jobs/p/train.json"
    assert held_by(store, key) is None
    lease = acquire(store, key, "first", 60)
    assert held_by(store, key) == lease.nonce
    with pytest.raises(AlreadyRunning, match="first is running"):
        acquire(store, key, "second", 60)
    lease.release()
    assert held_by(store, key) is None
    assert acquire(store, key, "second", 60).nonce != lease.nonce


def test_of_many_that_want_a_lease_one_gets_it(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]
    for _ in range(2):  # never taken, then released
        calls = [
            lambda store=store: acquire(store, "jobs/p/fetch.json", "someone", 60)
            for _, store in zip(range(WRITERS), itertools.cycle(stores), strict=False)
        ]
        held = [result for result in run_at_once(calls) if not isinstance(result, AlreadyRunning)]
        assert len(held) == 1
        held[0].release()


def test_a_lease_that_is_not_renewed_expires_and_its_holder_learns_it(store: Objects) -> None:
    key = "jobs/p/train.json"
    dead = acquire(store, key, "dead", 1)
    # Ages on S3 are whole seconds, and a busy server's Date may lag behind.
    wait_until(lambda: held_by(store, key) is None, 20)
    heir = acquire(store, key, "heir", 60)
    assert not dead.renew()
    assert dead.lost
    dead.release()
    assert held_by(store, key) == heir.nonce


def test_a_lease_that_is_renewed_outlives_its_seconds(store: Objects) -> None:
    key = "jobs/p/train.json"
    with acquire(store, key, "alive", 6) as lease:
        wait_until(lambda: lease.renewals >= 5)  # each after a quarter of the lease
        assert held_by(store, key) == lease.nonce
        assert not lease.lost
    assert held_by(store, key) is None


def test_renewals_at_once_do_not_take_the_lease_from_its_own_holder(store: Objects) -> None:
    lease = acquire(store, "jobs/p/train.json", "alive", 60)
    assert all(run_at_once([lease.renew] * 8))
    assert not lease.lost
    lease.release()
    assert not lease.lost


def test_a_child_goes_on_with_the_lease_of_its_parent(store: Objects) -> None:
    key = "jobs/p/train.json"
    parent = acquire(store, key, "parent", 60)
    child = take_over(store, key, parent.nonce, 60)
    assert child.renew()
    child.release()
    with pytest.raises(AlreadyRunning):
        take_over(store, key, parent.nonce, 60)


def test_a_lease_survives_a_renewal_whose_answer_was_lost(store: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = acquire(store, "jobs/p/train.json", "alive", 60)
    put = store.put

    def lose_answer(*arguments: Any, **options: Any) -> str:
        put(*arguments, **options)
        raise StoreUnavailable(store.where, "the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", lose_answer)
        assert lease.renew()
    assert lease.renew()
    assert not lease.lost
