"""A sample is stored at most once, whole or not at all."""

import json

import pytest

from common.errors import Conflict
from common.storage import keys
from common.storage.dataset import (
    Dataset,
    IntentDocument,
    SampleMeta,
    SampleSource,
    SourceDocument,
    rows_of,
    sample_digest,
)
from conftest import together


def add(dataset, batch, body, **facts):
    fixed = {"sha256": sample_digest(body), "batch": batch, "rows": 1, "source": SampleSource()}
    given = {"time": "2026-01-01T00:00:00.000Z", "format": "json", "intent": "intent-1", **facts}
    return dataset.add_sample(body, SampleMeta(**fixed, **given))


@pytest.fixture
def dataset(store):
    return Dataset(store, "flowers")


def test_a_sample_is_read_back_as_it_was_received(dataset):
    body = b'{"data": [["1"]],   "batch_number": 2}\n'
    assert add(dataset, 2, body)
    [(sample, stored)] = dataset.bodies(dataset.samples())
    assert (stored, sample.batch, sample.meta.intent) == (body, 2, "intent-1")


def test_the_same_answer_is_stored_once(dataset):
    assert add(dataset, 2, b"body")
    assert not add(dataset, 2, b"body", intent="intent-2")
    assert [sample.meta.intent for sample in dataset.samples()] == ["intent-1"]


def test_concurrent_writes_of_the_same_answer_store_it_once(store):
    calls = [lambda: add(Dataset(store, "flowers"), 1, b"body")] * 6
    assert sorted(together(*calls)) == [False] * 5 + [True]


def test_a_meta_without_a_body_is_no_sample_and_the_next_write_replaces_it(dataset, store):
    add(dataset, 1, b"body")
    [sample] = dataset.samples()
    store.delete(sample.key)
    assert Dataset(store, "flowers").samples() == []
    again = Dataset(store, "flowers")
    assert add(again, 1, b"body", intent="intent-2")
    assert [sample.meta.intent for sample in again.samples()] == ["intent-2"]


def test_a_body_without_a_meta_is_no_sample(dataset, store):
    add(dataset, 1, b"body")
    store.delete(keys.sample_meta(dataset.samples()[0].key))
    assert Dataset(store, "flowers").samples() == []


def test_samples_are_sorted_by_batch_then_time_and_new_ones_appear_at_once(dataset):
    for batch, time, body in ((10, "b", b"1"), (2, "z", b"2"), (10, "a", b"3")):
        add(dataset, batch, body, time=time)
    assert [(sample.batch, sample.meta.time) for sample in dataset.samples()] == [(2, "z"), (10, "a"), (10, "b")]
    add(dataset, 1, b"4")
    assert dataset.samples()[0].batch == 1


def test_bodies_have_the_order_of_their_samples(dataset):
    for number in range(150):
        add(dataset, 1, str(number).encode(), time=f"{number:04}")
    assert [body for _, body in dataset.bodies(dataset.samples())] == [str(number).encode() for number in range(150)]


def test_pipelines_share_no_data(store):
    add(Dataset(store, "pets"), 1, b"body")
    assert Dataset(store, "pet").samples() == []


def test_a_source_is_written_once(dataset):
    first = SourceDocument(type="table", location="first")
    dataset.set_source(first)
    with pytest.raises(Conflict):
        dataset.set_source(SourceDocument(type="table", location="second"))
    assert dataset.source() == first


def test_an_intent_is_written_once_and_later_gets_its_outcome(dataset):
    intent = IntentDocument(id="intent-1", time="2026-01-01T00:00:00.000Z", lease="nonce")
    etag = dataset.write_intent(intent)
    with pytest.raises(Conflict):
        dataset.write_intent(intent.model_copy(update={"outcome": "again"}))
    dataset.write_intent(intent.model_copy(update={"outcome": "stored"}), etag)
    assert [intent.outcome for intent in dataset.intents()] == ["stored"]


def test_rows_of_json_and_csv_have_the_columns_order(dataset):
    add(dataset, 1, json.dumps({"data": [["1", "a"]]}).encode())
    add(dataset, 2, "\ufeffname,more,size\nb,x,2\n\n".encode(), format="csv")
    rows = [rows_of(sample, body, ["size", "name"]) for sample, body in dataset.bodies(dataset.samples())]
    assert rows == [[["1", "a"]], [["2", "b"]]]
