"""A stored snapshot is read back as it was taken, or says what is wrong with it."""

import json

import pytest

from common.datasets import Dataset
from common.errors import NotFound, Unusable
from common.pipelines import read_pipelines
from stored import grow, listed
from train.snapshot import PARTS, read_examples, store_snapshot
from train.stored_snapshot import find_fingerprint, read_inputs, read_snapshot


@pytest.fixture(params=["flowers", "pets"])
def pipeline(request, make_settings):
    return read_pipelines(make_settings(request.param).pipelines)[request.param]


@pytest.fixture
def dataset(pipeline, store):
    return Dataset(store, pipeline.name)


def inputs(pipeline, dataset, fingerprint):
    snapshot = read_snapshot(pipeline, dataset, fingerprint)
    return list(read_inputs(pipeline, dataset, snapshot, lambda done, of: None))


def test_every_example_comes_back_with_its_input_label_and_part(pipeline, dataset):
    fingerprint = grow(dataset, pipeline, 0)
    examples = read_examples(pipeline, dataset, dataset.samples())
    grow(dataset, pipeline, 1)
    found = {one.example: (one.label, one.part, value) for one, value in inputs(pipeline, dataset, fingerprint)}
    named = [pipeline.label_values[label] for label in examples.labels]
    parts = [PARTS[part] for part in examples.parts]
    assert found == dict(zip(examples.hashes, zip(named, parts, examples.inputs, strict=True), strict=True))


def test_a_snapshot_keeps_the_names_of_its_labels(pipeline, dataset):
    fingerprint = grow(dataset, pipeline, 0)
    body = listed(dataset, fingerprint)
    assert tuple(body["labels"]) == pipeline.label_values
    key = f"{dataset.root}snapshots/{fingerprint}.json"
    dataset.objects.put(key, json.dumps({**body, "labels": ["x", "y", "z"]}).encode())
    assert {one.label for one in read_snapshot(pipeline, dataset, fingerprint).examples} <= {"x", "y", "z"}
    del body["labels"]  # as the first ones were stored
    dataset.objects.put(key, json.dumps(body).encode())
    assert {one.label for one in read_snapshot(pipeline, dataset, fingerprint).examples} <= set(pipeline.label_values)


def test_an_example_is_placed_at_its_sample_even_where_another_sample_lost_its_body(pipeline, dataset, monkeypatch):
    grow(dataset, pipeline, 0)
    grow(dataset, pipeline, 1)
    samples = dataset.samples()
    lost = samples[0].key
    get = dataset.objects.get
    monkeypatch.setattr(dataset.objects, "get", lambda key: None if key == lost else get(key))
    fingerprint = store_snapshot(dataset, read_examples(pipeline, dataset, samples))
    assert lost not in {one.sample for one, _ in inputs(pipeline, dataset, fingerprint)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body["examples"].pop(), "was altered"),
        (lambda body: body["examples"][0].__setitem__(1, 1 - body["examples"][0][1]), "was altered"),
        (lambda body: body["examples"][0].__setitem__(3, 10_000), "is damaged"),
        (lambda body: body.pop("samples"), "is damaged"),
    ],
)
def test_a_list_that_was_altered_is_refused(pipeline, dataset, change, told):
    fingerprint = grow(dataset, pipeline, 0)
    body = listed(dataset, fingerprint)
    change(body)
    dataset.objects.put(f"{dataset.root}snapshots/{fingerprint}.json", json.dumps(body).encode())
    with pytest.raises(Unusable, match=told):
        read_snapshot(pipeline, dataset, fingerprint)


def test_a_sample_that_is_gone_or_altered_is_named(pipeline, dataset):
    fingerprint = grow(dataset, pipeline, 0)
    last = max(read_snapshot(pipeline, dataset, fingerprint).examples, key=lambda one: one.sample).sample
    body = dataset.objects.get(last).body
    other = next(key for key in dataset.objects.list(dataset.root + "samples/") if not key.endswith(".json"))
    dataset.objects.put(last, b'{"data": []}' if pipeline.kind == "tabular" else dataset.objects.get(other).body)
    with pytest.raises(Unusable, match=f"{last} no longer holds the example of its row 0"):
        inputs(pipeline, dataset, fingerprint)
    dataset.objects.put(last, body)
    dataset.objects.delete(last)
    with pytest.raises(NotFound, match=f"1 samples of the snapshot are stored no more, the first of them {last}"):
        inputs(pipeline, dataset, fingerprint)


def test_the_start_of_a_fingerprint_is_enough_if_only_one_begins_so(pipeline, dataset):
    fingerprint = grow(dataset, pipeline, 0)
    assert find_fingerprint(dataset, fingerprint[:6]) == find_fingerprint(dataset, fingerprint) == fingerprint
    for start in (fingerprint[:5], "nothing"):
        with pytest.raises(NotFound, match=start):
            find_fingerprint(dataset, start)
    dataset.objects.put(f"{dataset.root}snapshots/{fingerprint[:8]}.json", b"{}")
    with pytest.raises(NotFound, match="several begin so"):
        find_fingerprint(dataset, fingerprint[:6])
    with pytest.raises(NotFound, match="no snapshot 00"):
        read_snapshot(pipeline, dataset, "0" * 64)
