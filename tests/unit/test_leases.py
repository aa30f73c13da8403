"""A lease has one holder at a time; it expires with a dead holder and is never taken from a living one."""

import json
import os
import threading

import pytest

from common.errors import AlreadyRunning
from common.storage.leases import acquire, holder_nonce, take_over
from conftest import together, wait_until

KEY = "jobs/flowers/fetch.json"


def attempt(store, seconds=60):
    try:
        return acquire(store, KEY, "someone", seconds)
    except AlreadyRunning:
        return None


def make_older(store, seconds):
    """Move the lease's last write back by so many seconds of the store's clock."""
    path = store.root / KEY
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


def test_of_concurrent_callers_one_gets_the_lease(store):
    assert sum(lease is not None for lease in together(*[lambda: attempt(store)] * 8)) == 1


def test_of_concurrent_callers_one_gets_an_expired_lease(store):
    attempt(store)
    make_older(store, 61)
    assert sum(lease is not None for lease in together(*[lambda: attempt(store)] * 8)) == 1


def test_a_refusal_names_the_holder(store):
    acquire(store, KEY, "the first", 60)
    with pytest.raises(AlreadyRunning, match="the first is running"):
        acquire(store, KEY, "the second", 60)


def test_a_released_lease_is_free_and_its_object_stays(store):
    with acquire(store, KEY, "someone", 60) as lease:
        assert holder_nonce(store, KEY) == lease.nonce
    assert holder_nonce(store, KEY) is None
    assert json.loads(store.get(KEY).body)["released"] is True
    assert attempt(store) is not None


def test_a_lease_is_released_even_if_the_work_fails(store):
    with pytest.raises(ZeroDivisionError), acquire(store, KEY, "someone", 60):
        raise ZeroDivisionError
    assert holder_nonce(store, KEY) is None


def test_a_dead_holder_s_lease_expires_by_the_store_s_clock(store):
    acquire(store, KEY, "someone", 60)
    make_older(store, 30)
    assert attempt(store) is None
    make_older(store, 31)
    assert holder_nonce(store, KEY) is None
    assert attempt(store) is not None


def test_a_living_holder_renews_its_lease(store):
    with acquire(store, KEY, "someone", 8) as lease:
        first = lease.etag
        make_older(store, 6)
        wait_until(lambda: lease.etag != first)  # after a quarter of the lease
        make_older(store, 3)
        assert attempt(store) is None
    assert not lease.lost


def test_a_holder_that_slept_too_long_notices_that_it_lost_the_lease(store):
    slow = acquire(store, KEY, "slow", 60)
    make_older(store, 61)
    successor = attempt(store)
    assert not slow.renew()
    assert slow.lost
    slow.release()
    assert holder_nonce(store, KEY) == successor.nonce
    assert successor.renew()


def test_background_renewal_stops_when_the_lease_is_lost(store):
    slow = acquire(store, KEY, "slow", 60)
    make_older(store, 61)
    attempt(store)
    slow.seconds = 0.04
    before = threading.active_count()
    slow.start_renewing()
    wait_until(lambda: slow.lost)
    wait_until(lambda: threading.active_count() == before)


def test_a_child_takes_over_its_parent_s_lease(store):
    parent = acquire(store, KEY, "train flowers", 60)
    parent.renew()
    child = take_over(store, KEY, parent.nonce, 60)
    assert child.renew()
    assert holder_nonce(store, KEY) == parent.nonce
    child.release()
    assert holder_nonce(store, KEY) is None


@pytest.mark.parametrize("how", ["expired", "released", "another"])
def test_a_child_does_not_take_over_a_lost_lease(store, how):
    parent = acquire(store, KEY, "train flowers", 60)
    if how == "released":
        parent.release()
    else:
        make_older(store, 61)
    if how == "another":
        attempt(store)
    with pytest.raises(AlreadyRunning, match="the lease was lost"):
        take_over(store, KEY, parent.nonce, 60)


def test_a_missing_lease_can_t_be_taken_over(store):
    with pytest.raises(AlreadyRunning):
        take_over(store, KEY, "nonce", 60)


def test_two_holders_never_write_the_same_body(store):
    """Equal bodies have equal ETags, so a condition on the ETag could not distinguish the two holders."""
    acquire(store, KEY, "someone", 60).release()
    first = store.get(KEY).etag
    acquire(store, KEY, "someone", 60).release()
    assert store.get(KEY).etag != first
