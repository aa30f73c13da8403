"""A sample is stored at most once, whole or not at all; the keys say everything."""

import io
import json

import pytest

from common.datasets import Dataset, csv_rows, rows_of
from common.errors import Conflict, StoreUnavailable, Unusable
from common.objects import FolderObjects
from conftest import together

META = {"time": "2026-01-01T00:00:00.000Z", "format": "json", "intent": "intent-1"}


@pytest.fixture
def dataset(store):
    return Dataset(store, "flowers")


def test_a_sample_comes_back_as_it_was_received(dataset):
    body = b'{"data": [["1"]],   "batch_number": 2}\n'
    assert dataset.add_sample(2, body, META)
    [(sample, found)] = dataset.bodies(dataset.samples())
    assert (found, sample.batch, sample.meta["intent"]) == (body, 2, "intent-1")


def test_the_same_answer_is_stored_once(dataset):
    assert dataset.add_sample(2, b"body", META)
    assert not dataset.add_sample(2, b"body", {**META, "intent": "intent-2"})
    assert [sample.meta["intent"] for sample in dataset.samples()] == ["intent-1"]


def test_the_same_answer_at_the_same_moment_is_stored_once(store):
    calls = [lambda: Dataset(store, "flowers").add_sample(1, b"body", META)] * 6
    assert sorted(together(*calls)) == [False] * 5 + [True]


def test_a_meta_without_a_body_is_no_sample_and_is_taken_over(dataset, store):
    dataset.add_sample(1, b"body", META)
    [sample] = dataset.samples()
    store.delete(sample.key)
    assert Dataset(store, "flowers").samples() == []
    again = Dataset(store, "flowers")
    assert again.add_sample(1, b"body", {**META, "intent": "intent-2"})
    assert [sample.meta["intent"] for sample in again.samples()] == ["intent-2"]


def test_a_body_without_its_meta_is_no_sample(dataset, store):
    dataset.add_sample(1, b"body", META)
    store.delete(f"{dataset.samples()[0].key}.meta.json")
    assert Dataset(store, "flowers").samples() == []


def test_samples_come_by_batch_then_by_time_and_new_ones_show_at_once(dataset):
    for batch, time, body in ((10, "b", b"1"), (2, "z", b"2"), (10, "a", b"3")):
        dataset.add_sample(batch, body, {**META, "time": time})
    assert [(sample.batch, sample.meta["time"]) for sample in dataset.samples()] == [(2, "z"), (10, "a"), (10, "b")]
    dataset.add_sample(1, b"4", META)
    assert dataset.samples()[0].batch == 1


def test_bodies_keep_the_order_of_their_samples(dataset):
    for number in range(150):
        dataset.add_sample(1, str(number).encode(), {**META, "time": f"{number:04}"})
    assert [body for _, body in dataset.bodies(dataset.samples())] == [str(number).encode() for number in range(150)]


def test_pipelines_share_no_data(store):
    Dataset(store, "pets").add_sample(1, b"body", META)
    assert Dataset(store, "pet").samples() == []


def test_a_source_is_written_once(dataset):
    dataset.set_source({"location": "first"})
    with pytest.raises(Conflict):
        dataset.set_source({"location": "second"})
    assert dataset.source() == {"location": "first"}


def test_an_intent_is_written_once_and_then_gets_its_outcome(dataset):
    etag = dataset.write_intent({"id": "intent-1", "outcome": None})
    with pytest.raises(Conflict):
        dataset.write_intent({"id": "intent-1", "outcome": "again"})
    dataset.write_intent({"id": "intent-1", "outcome": "stored"}, etag)
    assert [intent["outcome"] for intent in dataset.intents()] == ["stored"]


def test_rows_come_back_in_the_columns_order_from_json_and_from_csv(dataset):
    dataset.add_sample(1, json.dumps({"data": [["1", "a"]]}).encode(), META)
    dataset.add_sample(2, "\ufeffname,more,size\nb,x,2\n\n".encode(), {**META, "format": "csv"})
    rows = [rows_of(sample, body, ["size", "name"]) for sample, body in dataset.bodies(dataset.samples())]
    assert rows == [[["1", "a"]], [["2", "b"]]]


def test_a_csv_without_a_column_is_told_with_its_name():
    with pytest.raises(Unusable) as caught:
        list(csv_rows(io.StringIO("size,colour\n1,red\n"), ["size", "name", "place"]))
    assert [error.field for error in caught.value.errors] == ["name", "place"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [("", None), ("size\n1\n2", [["1"], ["2"]]), ("other,size\n1", [[""]]), ('size\n"a\nb"', [["a\nb"]])],
    ids=["empty", "no-newline", "short-row", "newline-in-value"],
)
def test_odd_csvs_give_rows_or_a_reason(text, rows):
    if rows is None:
        with pytest.raises(Unusable, match="lacks columns: size"):
            list(csv_rows(io.StringIO(text, newline=""), ["size"]))
    else:
        assert list(csv_rows(io.StringIO(text, newline=""), ["size"])) == rows


def test_a_write_under_a_condition_happens_once(store):
    calls = [lambda number=number: store.put("one", str(number).encode(), if_absent=True) for number in range(6)]

    def attempt(call):
        try:
            return call()
        except Conflict:
            return None

    etags = together(*[lambda call=call: attempt(call) for call in calls])
    assert sum(etag is not None for etag in etags) == 1
    etag = store.get("one").etag
    etags = together(
        *[lambda n=number: attempt(lambda: store.put("one", f"new {n}".encode(), if_match=etag)) for number in range(6)]
    )
    assert sum(etag is not None for etag in etags) == 1


def test_an_object_that_is_gone_matches_no_etag(store):
    etag = store.put("one", b"body")
    store.delete("one")
    with pytest.raises(Conflict):
        store.put("one", b"other", if_match=etag)
    assert store.get("one") is None


def test_a_process_killed_while_it_writes_leaves_no_half_object(store):
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
def test_a_store_whose_folder_went_away_is_unavailable_not_empty(tmp_path, call):
    store = FolderObjects(tmp_path / "here" / "store")
    store.put("one", b"x")
    (tmp_path / "here").rename(tmp_path / "gone")
    with pytest.raises(StoreUnavailable, match="folder is gone"):
        call(store)
