"""One suite for every object store: a local folder, MinIO and versitygw."""

from __future__ import annotations

import io
import itertools
import json
import random
import secrets
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from all_settings import read_settings
from common.errors import Conflict, StoreUnavailable
from common.storage.folder import FolderStore
from common.storage.object_store import ObjectStore
from common.storage.s3 import S3Store
from conftest import wait_until
from integration.conftest import WRITERS, OpenStore, run_at_once
from relay import Relay
from servers import Minio

pytestmark = pytest.mark.integration


def test_an_object_is_read_back_whole(store: ObjectStore) -> None:
    body = bytes(range(256)) * 4096
    etag = store.put("a/b/c.bin", body)
    stored = store.get("a/b/c.bin")
    assert stored is not None
    assert (stored.body, stored.etag) == (body, etag)
    assert store.put("empty", b"") != etag
    assert store.get("empty").body == b""  # type: ignore[union-attr]


def test_a_missing_object_is_none(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    assert store.get("a/c") is None
    assert store.get("a") is None
    assert store.get("a/b/c") is None


def test_an_unconditional_put_overwrites(store: ObjectStore) -> None:
    first = store.put("key", b"1")
    assert store.put("key", b"2") != first
    assert store.get("key").body == b"2"  # type: ignore[union-attr]


def test_if_absent_refuses_a_second_write_even_of_the_same_body(store: ObjectStore) -> None:
    store.put("key", b"1", if_absent=True)
    for body in (b"1", b"2"):
        with pytest.raises(Conflict):
            store.put("key", body, if_absent=True)
    assert store.get("key").body == b"1"  # type: ignore[union-attr]


def test_if_match_overwrites_only_the_version_that_was_read(store: ObjectStore) -> None:
    with pytest.raises(Conflict):
        store.put("key", b"x", if_match=store.put("other", b"x"))
    assert store.get("key") is None
    first = store.put("key", b"1")
    second = store.put("key", b"2", if_match=first)
    with pytest.raises(Conflict):
        store.put("key", b"3", if_match=first)
    assert store.get("key").etag == second  # type: ignore[union-attr]


def test_equal_bodies_have_equal_etags(store: ObjectStore) -> None:
    assert store.put("one", b"same") == store.put("two", b"same") != store.put("three", b"not the same")


def test_keys_are_listed_by_prefix_in_byte_order(store: ObjectStore) -> None:
    keys = ["a", "a-b/x", "a.b", "ab/c", "a0/c", "b/.hidden", "b/1", "b/10", "b/2", "b/é", "b/z", "c/d/e/f.json"]
    for key in reversed(keys):
        store.put(key, b"1")
    by_bytes = sorted(keys, key=str.encode)
    for prefix in ("", "a", "a-", "ab/", "b/", "b/1", "c/d", "c/d/", "none", "none/"):
        assert list(store.list(prefix)) == [key for key in by_bytes if key.startswith(prefix)], prefix


def test_a_listing_continues_beyond_a_thousand_keys(store: ObjectStore) -> None:
    keys = [f"many/{number:05}" for number in range(1005)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put(key, b"1"), keys))
    assert list(store.list("many/")) == keys


def test_ages_follow_the_store_s_clock(store: ObjectStore) -> None:
    def age() -> float:
        return store.get("key").age_s  # type: ignore[union-attr]

    def is_new_when_put() -> bool:
        began = time.monotonic()
        store.put("key", b"1")
        return age() < time.monotonic() - began + 2  # on S3 whole seconds

    assert is_new_when_put()
    wait_until(lambda: age() >= 4)
    assert is_new_when_put()


def test_delete_removes_an_object_and_ignores_a_missing_one(store: ObjectStore) -> None:
    store.put("a/key", b"1")
    store.delete("a/key")
    store.delete("a/key")
    assert store.get("a/key") is None
    assert list(store.list("a/")) == []


@pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a//b", "../a", "a/../b", ".", "a/./b", ".lock", "a/.writing-b"])
def test_a_bad_key_is_refused_before_any_write(store: ObjectStore, key: str) -> None:
    for call in (lambda: store.get(key), lambda: store.put(key, b"1"), lambda: store.delete(key)):
        with pytest.raises(ValueError, match="not a key"):
            call()
    assert list(store.list("")) == []


@pytest.mark.parametrize("size", [0, 1, (16 << 20) - 1, 16 << 20, 40_000_001])
def test_a_large_body_is_streamed_whole_in_both_directions(store: ObjectStore, size: int) -> None:
    body = random.Random(size).randbytes(size)
    store.put("key", b"before")
    etag = store.write_from("key", io.BytesIO(body))
    with tempfile.TemporaryFile() as file:
        file.write(b"head")
        assert store.read_into("key", file)
        file.seek(0)
        assert file.read() == b"head" + body
        assert not store.read_into("none", file)
    assert store.get("key").etag == etag  # type: ignore[union-attr]


def test_a_failed_streamed_write_leaves_the_old_object(store: ObjectStore) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 30_000_000:
                raise ValueError("the disk failed")
            return super().read(size)

    store.put("key", b"before")
    with pytest.raises(ValueError, match="disk failed"):
        store.write_from("key", Failing(bytes(50_000_000)))
    assert store.get("key").body == b"before"  # type: ignore[union-attr]
    assert list(store.list("")) == ["key"]
    if isinstance(store, S3Store):  # the upload was aborted
        query = {"Bucket": store.bucket, "Prefix": f"{store.prefix}key"}
        assert "Uploads" not in store._client.list_multipart_uploads(**query)


def test_of_concurrent_first_writes_one_succeeds(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]
    calls = [
        lambda store=store, number=number: store.put("key", f"{number}".encode(), if_absent=True)
        for number, store in zip(range(WRITERS), itertools.cycle(stores), strict=False)
    ]
    results = run_at_once(calls)
    winners = [number for number, result in enumerate(results) if isinstance(result, str)]
    assert len(winners) == 1
    assert stores[0].get("key").body == f"{winners[0]}".encode()  # type: ignore[union-attr]


def test_of_concurrent_overwrites_of_one_version_one_succeeds(open_store: OpenStore) -> None:
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


@pytest.mark.full
def test_a_write_whose_answer_was_lost_is_recognised_as_ours(minio: Minio, tmp_path: Path) -> None:
    bucket = minio.make_bucket(f"test-{secrets.token_hex(6)}")
    with Relay(minio.url) as relay:
        settings = {**minio.settings(bucket, tmp_path), "AWS_ENDPOINT_URL_S3": relay.url}
        with closing(S3Store(bucket, "", read_settings(settings))) as store:
            store.prove_conditions()
            relay.fail_once(rb"PUT \S+/key")
            body = json.dumps({"nonce": secrets.token_hex(8)}).encode()
            etag = store.put("key", body, if_absent=True)
            assert relay.faults == 1
            assert store.get("key").etag == etag  # type: ignore[union-attr]
            with pytest.raises(Conflict):
                store.put("key", b"another's", if_absent=True)


def test_an_error_names_the_store_and_its_reason(minio: Minio, tmp_path: Path) -> None:
    environment = minio.settings("no-such-bucket", tmp_path)
    store = S3Store("no-such-bucket", "", read_settings(environment))
    with pytest.raises(StoreUnavailable, match=r"s3://no-such-bucket.*NoSuchBucket"):
        store.put("key", b"1")
    store.close()
    (tmp_path / "s3-secret-key").write_text("not the key")
    wrong = S3Store("no-such-bucket", "", read_settings(environment))
    with pytest.raises(StoreUnavailable, match="SignatureDoesNotMatch"):
        wrong.get("key")
    wrong.close()


def test_a_new_secret_key_takes_effect_at_once(minio: Minio, tmp_path: Path) -> None:
    bucket = minio.make_bucket(f"test-{secrets.token_hex(6)}")
    store = S3Store(bucket, "", read_settings(minio.settings(bucket, tmp_path)))
    store.put("key", b"1")
    (tmp_path / "s3-secret-key").write_text("a revoked key")
    with pytest.raises(StoreUnavailable, match="SignatureDoesNotMatch"):
        store.get("key")
    (tmp_path / "s3-secret-key").write_text(minio.secret_key)
    assert store.get("key").body == b"1"  # type: ignore[union-attr]
    store.close()


def test_a_folder_that_can_t_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="file"):
        FolderStore(tmp_path / "file" / "store")
