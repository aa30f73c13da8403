"""A stored snapshot is read back as it was taken; a damaged one is refused."""

import json

import pytest

from common.documents import DamagedDocument
from common.errors import NotFound, Unusable
from common.pipeline_files import read_pipelines
from common.storage import keys
from common.storage.dataset import Dataset
from provenance.snapshots import find_fingerprint, read_inputs, read_snapshot
from stored import grow, listed
from train.snapshot import Split, read_examples, store_snapshot


@pytest.fixture(params=["flowers", "pets"])
def pipeline(request, make_settings):
    return read_pipelines(make_settings(request.param).pipelines)[request.param]


@pytest.fixture
def dataset(pipeline, store):
    return Dataset(store, pipeline.name)


def inputs(pipeline, dataset, fingerprint):
    snapshot = read_snapshot(pipeline, dataset, fingerprint)
    return list(read_inputs(pipeline, dataset, snapshot, lambda done, total: None))


def test_every_example_comes_back_with_its_input_label_and_part(pipeline, dataset):
    fingerprint = grow(dataset, pipeline, 0)
    examples = read_examples(pipeline, dataset, dataset.samples())
    grow(dataset, pipeline, 1)
    found = {one.example: (one.label, one.part, value) for one, value in inputs(pipeline, dataset, fingerprint)}
    named = [pipeline.label_values[label] for label in examples.labels]
    splits = [Split(split).label for split in examples.splits]
    assert found == dict(zip(examples.hashes, zip(named, splits, examples.inputs, strict=True), strict=True))


def test_a_snapshot_keeps_the_names_of_its_labels(pipeline, dataset):
    fingerprint = grow(dataset, pipeline, 0)
    body = listed(dataset, fingerprint)
    assert tuple(body["labels"]) == pipeline.label_values
    key = keys.snapshot(dataset.pipeline, fingerprint)
    dataset.store.put(key, json.dumps({**body, "labels": ["x", "y", "z"]}).encode())
    assert {one.label for one in read_snapshot(pipeline, dataset, fingerprint).examples} <= {"x", "y", "z"}
    del body["labels"]  # as in the first snapshots
    dataset.store.put(key, json.dumps(body).encode())
    assert {one.label for one in read_snapshot(pipeline, dataset, fingerprint).examples} <= set(pipeline.label_values)


def test_an_example_refers_to_its_sample_if_another_sample_lost_its_body(pipeline, dataset, monkeypatch):
    grow(dataset, pipeline, 0)
    grow(dataset, pipeline, 1)
    samples = dataset.samples()
    lost = samples[0].key
    get = dataset.store.get
    monkeypatch.setattr(dataset.store, "get", lambda key: None if key == lost else get(key))
    fingerprint = store_snapshot(dataset, read_examples(pipeline, dataset, samples))
    assert lost not in {one.sample for one, _ in inputs(pipeline, dataset, fingerprint)}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda body: body["examples"].pop(), Unusable, "was altered"),
        (lambda body: body["examples"][0].__setitem__(1, 1 - body["examples"][0][1]), Unusable, "was altered"),
        (lambda body: body["examples"][0].__setitem__(3, 10_000), Unusable, "is damaged"),
        (lambda body: body.pop("samples"), DamagedDocument, "is damaged"),
    ],
)
def test_an_altered_snapshot_is_refused(pipeline, dataset, change, error, message):
    fingerprint = grow(dataset, pipeline, 0)
    body = listed(dataset, fingerprint)
    change(body)
    dataset.store.put(keys.snapshot(dataset.pipeline, fingerprint), json.dumps(body).encode())
    with pytest.raises(error, match=message):
        read_snapshot(pipeline, dataset, fingerprint)


def test_a_deleted_or_altered_sample_is_named(pipeline, dataset):
    fingerprint = grow(dataset, pipeline, 0)
    last = max(read_snapshot(pipeline, dataset, fingerprint).examples, key=lambda one: one.sample).sample
    body = dataset.store.get(last).body
    other = next(key for key in dataset.store.list(keys.samples(dataset.pipeline)) if not key.endswith(".json"))
    dataset.store.put(last, b'{"data": []}' if pipeline.kind == "tabular" else dataset.store.get(other).body)
    with pytest.raises(Unusable, match=f"{last} no longer holds the example of its row 0"):
        inputs(pipeline, dataset, fingerprint)
    dataset.store.put(last, body)
    dataset.store.delete(last)
    with pytest.raises(NotFound, match=f"1 samples of the snapshot are no longer stored, the first is {last}"):
        inputs(pipeline, dataset, fingerprint)


def test_a_unique_prefix_of_a_fingerprint_is_enough(pipeline, dataset):
    fingerprint = grow(dataset, pipeline, 0)
    assert find_fingerprint(dataset, fingerprint[:6]) == find_fingerprint(dataset, fingerprint) == fingerprint
    for start in (fingerprint[:5], "nothing"):
        with pytest.raises(NotFound, match=start):
            find_fingerprint(dataset, start)
    dataset.store.put(keys.snapshot(dataset.pipeline, fingerprint[:8]), b"{}")
    with pytest.raises(NotFound, match="several match"):
        find_fingerprint(dataset, fingerprint[:6])
    with pytest.raises(NotFound, match="no snapshot 00"):
        read_snapshot(pipeline, dataset, "0" * 64)
