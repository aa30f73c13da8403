"""Leases on every object store: a local folder, MinIO and versitygw."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from common.errors import AlreadyRunning, StoreUnavailable
from common.storage import keys
from common.storage.leases import acquire, holder_nonce, take_over
from common.storage.object_store import ObjectStore
from conftest import wait_until
from integration.conftest import WRITERS, OpenStore, run_at_once

pytestmark = pytest.mark.integration
KEY = keys.lease("p", "train")


def test_a_lease_has_one_holder_until_it_is_released(store: ObjectStore) -> None:
    assert holder_nonce(store, KEY) is None
    lease = acquire(store, KEY, "first", 60)
    assert holder_nonce(store, KEY) == lease.nonce
    with pytest.raises(AlreadyRunning, match="first is running"):
        acquire(store, KEY, "second", 60)
    lease.release()
    assert holder_nonce(store, KEY) is None
    assert acquire(store, KEY, "second", 60).nonce != lease.nonce


def test_of_concurrent_callers_one_gets_the_lease(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]
    for _ in range(2):  # never taken, then released
        calls = [
            lambda store=store: acquire(store, KEY, "someone", 60)
            for _, store in zip(range(WRITERS), itertools.cycle(stores), strict=False)
        ]
        leases = [result for result in run_at_once(calls) if not isinstance(result, AlreadyRunning)]
        assert len(leases) == 1
        leases[0].release()


def test_a_lease_that_is_not_renewed_expires_and_its_holder_notices(store: ObjectStore) -> None:
    dead = acquire(store, KEY, "dead", 1)
    # Ages on S3 are whole seconds, and a busy server's Date may lag behind.
    wait_until(lambda: holder_nonce(store, KEY) is None, 20)
    successor = acquire(store, KEY, "successor", 60)
    assert not dead.renew()
    assert dead.lost
    dead.release()
    assert holder_nonce(store, KEY) == successor.nonce


def test_a_renewed_lease_does_not_expire(store: ObjectStore) -> None:
    with acquire(store, KEY, "alive", 6) as lease:
        wait_until(lambda: lease.renewals >= 5)  # one each quarter of the lease
        assert holder_nonce(store, KEY) == lease.nonce
        assert not lease.lost
    assert holder_nonce(store, KEY) is None


def test_concurrent_renewals_do_not_lose_the_lease(store: ObjectStore) -> None:
    lease = acquire(store, KEY, "alive", 60)
    assert all(run_at_once([lease.renew] * 8))
    assert not lease.lost
    lease.release()
    assert not lease.lost


def test_a_child_takes_over_its_parent_s_lease(store: ObjectStore) -> None:
    parent = acquire(store, KEY, "parent", 60)
    child = take_over(store, KEY, parent.nonce, 60)
    assert child.renew()
    child.release()
    with pytest.raises(AlreadyRunning):
        take_over(store, KEY, parent.nonce, 60)


def test_a_lease_survives_a_renewal_whose_answer_was_lost(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = acquire(store, KEY, "alive", 60)
    put = store.put

    def lose_answer(*arguments: Any, **options: Any) -> str:
        put(*arguments, **options)
        raise StoreUnavailable(store.where, "the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", lose_answer)
        assert lease.renew()
    assert lease.renew()
    assert not lease.lost
