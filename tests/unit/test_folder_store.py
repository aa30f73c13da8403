"""The object store in a folder: conditional writes, whole objects, keys that stay inside."""

import pytest

from common.errors import Conflict, StoreUnavailable
from common.storage.folder import FolderStore
from conftest import together


def test_of_concurrent_conditional_writes_one_succeeds(store):
    def attempt(body, **condition):
        try:
            return store.put("one", body, **condition)
        except Conflict:
            return None

    bodies = [f"{number}".encode() for number in range(6)]
    etags = together(*[lambda body=body: attempt(body, if_absent=True) for body in bodies])
    assert sum(etag is not None for etag in etags) == 1
    etag = store.get("one").etag
    etags = together(*[lambda body=body: attempt(b"new " + body, if_match=etag) for body in bodies])
    assert sum(etag is not None for etag in etags) == 1


def test_a_deleted_object_matches_no_etag(store):
    etag = store.put("one", b"body")
    store.delete("one")
    with pytest.raises(Conflict):
        store.put("one", b"other", if_match=etag)
    assert store.get("one") is None


def test_a_process_killed_while_writing_leaves_the_old_object(store):
    store.put("folder/one", b"old")
    (store.root / "folder" / ".writing-x").write_bytes(b"ha")
    assert list(store.list("folder/")) == ["folder/one"]
    assert store.get("folder/one").body == b"old"


def test_keys_are_listed_by_prefix_in_order(store):
    for key in ("b/2", "b/10", "bb/1", "a"):
        store.put(key, b"x")
    assert list(store.list("b/")) == ["b/10", "b/2"]
    assert list(store.list("b")) == ["b/10", "b/2", "bb/1"]
    assert list(store.list("")) == ["a", "b/10", "b/2", "bb/1"]
    assert list(store.list("none/")) == []


@pytest.mark.parametrize("key", ["../out", "a/../../out", "/etc/out", "a//b", ".", "a/.writing-x"])
def test_no_key_leads_out_of_the_store(store, key):
    with pytest.raises(ValueError, match="not a key"):
        store.put(key, b"x")


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get("one"),
        lambda store: store.put("one", b"x"),
        lambda store: list(store.list("o")),
        lambda store: store.delete("one"),
    ],
    ids=["get", "put", "list", "delete"],
)
def test_a_store_whose_folder_disappeared_is_unavailable_not_empty(tmp_path, call):
    store = FolderStore(tmp_path / "here" / "store")
    store.put("one", b"x")
    (tmp_path / "here").rename(tmp_path / "away")
    with pytest.raises(StoreUnavailable, match="folder no longer exists"):
        call(store)
