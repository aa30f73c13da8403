"""One suite for every implementation of the object store: a local folder and S3 (a real MinIO)."""

from __future__ import annotations

import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from common.errors import AlreadyRunning, Conflict, StoreUnavailable
from common.leases import acquire, held_by, take_over
from common.objects import FolderObjects, Objects, open_objects
from common.objects_s3 import S3Objects
from common.settings import read_settings
from integration.conftest import Minio

pytestmark = pytest.mark.integration

WRITERS = 40
OpenStore = Callable[[], Objects]


@pytest.fixture(params=["folder", "s3"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the same empty store as often as asked."""
    opened: list[Objects] = []
    if request.param == "folder":
        environment = {"SABUESO_STORE": f"file://{tmp_path}/store"}
    else:
        minio: Minio = request.getfixturevalue("minio")
        bucket = minio.make_bucket(f"test-{secrets.token_hex(6)}")
        environment = minio.environment(f"{bucket}/some/prefix", tmp_path / "secrets")
        environment["SABUESO_STORE"] = f"s3://{bucket}/some/prefix"

    def open_one() -> Objects:
        opened.append(open_objects(read_settings(environment)))
        return opened[-1]

    yield open_one
    for store in opened:
        if isinstance(store, S3Objects):
            store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Objects:
    return open_store()


def run_at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call returned or raised; all start together."""
    gate = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return call()
        except (Conflict, AlreadyRunning) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def test_what_is_put_is_got_whole(store: Objects) -> None:
    body = bytes(range(256)) * 4096
    etag = store.put("a/b/c.bin", body)
    found = store.get("a/b/c.bin")
    assert found is not None
    assert (found.body, found.etag) == (body, etag)
    assert store.put("empty", b"") != etag
    assert store.get("empty").body == b""  # type: ignore[union-attr]


def test_what_is_not_there_is_none(store: Objects) -> None:
    store.put("a/b", b"1")
    assert store.get("a/c") is None
    assert store.get("a") is None
    assert store.get("a/b/c") is None


def test_a_plain_put_overwrites(store: Objects) -> None:
    first = store.put("key", b"1")
    assert store.put("key", b"2") != first
    assert store.get("key").body == b"2"  # type: ignore[union-attr]


def test_if_absent_writes_once_even_the_same_body(store: Objects) -> None:
    store.put("key", b"1", if_absent=True)
    for body in (b"1", b"2"):
        with pytest.raises(Conflict):
            store.put("key", body, if_absent=True)
    assert store.get("key").body == b"1"  # type: ignore[union-attr]


def test_if_match_writes_over_what_was_read_and_over_nothing_else(store: Objects) -> None:
    with pytest.raises(Conflict):
        store.put("key", b"x", if_match=store.put("other", b"x"))
    assert store.get("key") is None
    first = store.put("key", b"1")
    second = store.put("key", b"2", if_match=first)
    with pytest.raises(Conflict):
        store.put("key", b"3", if_match=first)
    assert store.get("key").etag == second  # type: ignore[union-attr]


def test_equal_bodies_have_equal_etags(store: Objects) -> None:
    assert store.put("one", b"same") == store.put("two", b"same") != store.put("three", b"not the same")


def test_a_listing_has_the_prefix_and_the_order_of_bytes(store: Objects) -> None:
    keys = ["a", "a-b/x", "a.b", "ab/c", "a0/c", "b/.hidden", "b/1", "b/10", "b/2", "b/é", "b/z", "c/d/e/f.json"]
    for key in reversed(keys):
        store.put(key, b"1")
    by_bytes = sorted(keys, key=str.encode)
    for prefix in ("", "a", "a-", "ab/", "b/", "b/1", "c/d", "c/d/", "none", "none/"):
        assert list(store.list(prefix)) == [key for key in by_bytes if key.startswith(prefix)], prefix


def test_a_listing_goes_on_after_a_thousand_keys(store: Objects) -> None:
    keys = [f"many/{number:05}" for number in range(1005)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put(key, b"1"), keys))
    assert list(store.list("many/")) == keys


def test_age_is_told_by_the_stores_clock(store: Objects) -> None:
    store.put("key", b"1")
    assert store.get("key").age_s < 2  # type: ignore[union-attr]
    time.sleep(2.2)
    assert 1 < store.get("key").age_s < 10  # type: ignore[union-attr]
    store.put("key", b"1")
    assert store.get("key").age_s < 2  # type: ignore[union-attr]


def test_delete_takes_away_and_does_not_mind_what_is_gone(store: Objects) -> None:
    store.put("a/key", b"1")
    store.delete("a/key")
    store.delete("a/key")
    assert store.get("a/key") is None
    assert list(store.list("a/")) == []


@pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a//b", "../a", "a/../b", ".", "a/./b", ".lock", "a/.writing-b"])
def test_a_bad_key_is_refused_before_anything_is_written(store: Objects, key: str) -> None:
    for call in (lambda: store.get(key), lambda: store.put(key, b"1"), lambda: store.delete(key)):
        with pytest.raises(ValueError, match="not a key"):
            call()
    assert list(store.list("")) == []


def test_of_many_first_writers_one_wins(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]
    calls = [
        lambda store=store, number=number: store.put("key", f"{number}".encode(), if_absent=True)
        for number, store in zip(range(WRITERS), itertools.cycle(stores), strict=False)
    ]
    results = run_at_once(calls)
    winners = [number for number, result in enumerate(results) if isinstance(result, str)]
    assert len(winners) == 1
    assert stores[0].get("key").body == f"{winners[0]}".encode()  # type: ignore[union-attr]


def test_of_many_writers_over_one_state_one_wins(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]
    before = stores[0].put("key", b"before")
    calls = [
        lambda store=store, number=number: store.put("key", f"{number}".encode(), if_match=before)
        for number, store in zip(range(WRITERS), itertools.cycle(stores), strict=False)
    ]
    results = run_at_once(calls)
    winners = [number for number, result in enumerate(results) if isinstance(result, str)]
    assert len(winners) == 1
    assert stores[0].get("key").body == f"{winners[0]}".encode()  # type: ignore[union-attr]


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
    time.sleep(2.5)
    assert held_by(store, key) is None
    heir = acquire(store, key, "heir", 60)
    assert not dead.renew()
    assert dead.lost
    dead.release()
    assert held_by(store, key) == heir.nonce


def test_a_lease_that_is_renewed_outlives_its_seconds(store: Objects) -> None:
    key = "jobs/p/train.json"
    with acquire(store, key, "alive", 2) as lease:
        time.sleep(4.5)
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


def test_a_write_whose_answer_was_lost_is_known_as_ours(minio: Minio, tmp_path: Path) -> None:
    bucket = minio.make_bucket(f"test-{secrets.token_hex(6)}")
    store = S3Objects(bucket, "", read_settings(minio.environment(bucket, tmp_path)))
    put_object, lost = store._client.put_object, []

    def lose_first_answer(**request: Any) -> Any:
        answer = put_object(**request)
        if not lost:
            lost.append(request)
            raise ReadTimeoutError(endpoint_url=minio.url)
        return answer

    store._client.put_object = lose_first_answer
    body = json.dumps({"nonce": secrets.token_hex(8)}).encode()
    etag = store.put("key", body, if_absent=True)
    assert lost
    assert store.get("key").etag == etag  # type: ignore[union-attr]
    with pytest.raises(Conflict):
        store.put("key", b"another's", if_absent=True)
    store.close()


def test_a_store_that_refuses_says_which_and_why(minio: Minio, tmp_path: Path) -> None:
    environment = minio.environment("no-such-bucket", tmp_path)
    store = S3Objects("no-such-bucket", "", read_settings(environment))
    with pytest.raises(StoreUnavailable, match=r"s3://no-such-bucket.*NoSuchBucket"):
        store.put("key", b"1")
    (tmp_path / "s3-secret-key").write_text("not the key")
    wrong = S3Objects("no-such-bucket", "", read_settings(environment))
    with pytest.raises(StoreUnavailable, match="SignatureDoesNotMatch"):
        wrong.get("key")
    store.close()
    wrong.close()


def test_a_folder_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="file"):
        FolderObjects(tmp_path / "file" / "store")
