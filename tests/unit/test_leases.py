"""A lease has one holder at a time, dies with it, and is never taken from one who lives."""

import json
import os
import threading

import pytest

from common.errors import AlreadyRunning
from common.leases import acquire, held_by, take_over
from conftest import together, wait_until

KEY = "jobs/flowers/fetch.json"


def attempt(store, seconds=60):
    try:
        return acquire(store, KEY, "someone", seconds)
    except AlreadyRunning:
        return None


def let_pass(store, seconds):
    """Make the lease look older, as the store's clock tells it."""
    path = store.root / KEY
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


def test_of_many_at_once_one_gets_it(store):
    assert sum(lease is not None for lease in together(*[lambda: attempt(store)] * 8)) == 1


def test_of_many_at_once_one_gets_what_expired(store):
    attempt(store)
    let_pass(store, 61)
    assert sum(lease is not None for lease in together(*[lambda: attempt(store)] * 8)) == 1


def test_who_holds_it_is_told(store):
    acquire(store, KEY, "the first", 60)
    with pytest.raises(AlreadyRunning, match="the first is running"):
        acquire(store, KEY, "the second", 60)


def test_a_released_lease_is_free_and_its_object_stays(store):
    with acquire(store, KEY, "someone", 60) as lease:
        assert held_by(store, KEY) == lease.nonce
    assert held_by(store, KEY) is None
    assert json.loads(store.get(KEY).body)["released"] is True
    assert attempt(store) is not None


def test_it_is_released_even_if_the_work_fails(store):
    with pytest.raises(ZeroDivisionError), acquire(store, KEY, "someone", 60):
        raise ZeroDivisionError
    assert held_by(store, KEY) is None


def test_a_dead_holders_lease_expires_by_the_store_s_clock(store):
    acquire(store, KEY, "someone", 60)
    let_pass(store, 30)
    assert attempt(store) is None
    let_pass(store, 31)
    assert held_by(store, KEY) is None
    assert attempt(store) is not None


def test_a_living_holder_renews_it(store):
    with acquire(store, KEY, "someone", 8) as lease:
        first = lease.etag
        let_pass(store, 6)
        wait_until(lambda: lease.etag != first)  # after a quarter of the lease
        let_pass(store, 3)
        assert attempt(store) is None
    assert not lease.lost


def test_a_holder_that_slept_too_long_learns_that_it_lost_it(store):
    slow = acquire(store, KEY, "slow", 60)
    let_pass(store, 61)
    quick = attempt(store)
    assert not slow.renew()
    assert slow.lost
    slow.release()
    assert held_by(store, KEY) == quick.nonce
    assert quick.renew()


def test_the_background_renewal_stops_when_it_is_lost(store):
    slow = acquire(store, KEY, "slow", 60)
    let_pass(store, 61)
    attempt(store)
    slow.seconds = 0.04
    before = threading.active_count()
    slow.start_renewing()
    wait_until(lambda: slow.lost)
    wait_until(lambda: threading.active_count() == before)


def test_a_child_goes_on_with_the_lease_of_its_parent(store):
    parent = acquire(store, KEY, "train flowers", 60)
    parent.renew()
    child = take_over(store, KEY, parent.nonce, 60)
    assert child.renew()
    assert held_by(store, KEY) == parent.nonce
    child.release()
    assert held_by(store, KEY) is None


@pytest.mark.parametrize("how", ["expired", "released", "another"])
def test_a_child_does_not_take_over_what_its_parent_lost(store, how):
    parent = acquire(store, KEY, "train flowers", 60)
    if how == "released":
        parent.release()
    else:
        let_pass(store, 61)
    if how == "another":
        attempt(store)
    with pytest.raises(AlreadyRunning, match="the lease was lost"):
        take_over(store, KEY, parent.nonce, 60)


def test_a_missing_lease_is_not_taken_over(store):
    with pytest.raises(AlreadyRunning):
        take_over(store, KEY, "nonce", 60)


def test_two_holders_never_write_equal_bodies(store):
    """Equal bodies have equal ETags, so a condition on the ETag would not tell the two apart."""
    acquire(store, KEY, "someone", 60).release()
    first = store.get(KEY).etag
    acquire(store, KEY, "someone", 60).release()
    assert store.get(KEY).etag != first
