"""A snapshot lists distinct examples; each stays in its split whatever data or label follow."""

import json

import numpy as np
import pytest

from common.inference.features import canonical_row
from common.inference.picture_files import PictureLimits
from common.pipeline_files import read_pipelines
from common.storage import keys
from common.storage.dataset import Dataset, SampleMeta, SampleSource, sample_digest
from flowers import draw, encode, flower_rows
from train.errors import TrainingFailed
from train.snapshot import (
    FRACTIONS,
    Split,
    load_snapshot,
    read_examples,
    snapshot_samples,
    split_of,
    store_snapshot,
)


@pytest.fixture
def pipeline(make_settings):
    return read_pipelines(make_settings("flowers").pipelines)["flowers"]


@pytest.fixture
def pets(make_settings):
    return read_pipelines(make_settings("pets").pipelines)["pets"]


def add(dataset, body, **facts):
    dataset.add_sample(
        body, SampleMeta(sha256=sample_digest(body), source=SampleSource(), **{"batch": 1, "made_up": True, **facts})
    )


def add_rows(dataset, rows, time="a", batch=1):
    body = json.dumps({"data": rows}).encode()
    add(dataset, body, format="json", time=time, batch=batch, rows=len(rows))


def add_picture(dataset, label, picture, number, file_format="PNG"):
    body = encode(picture, file_format)
    add(dataset, body, format="picture", time=str(number), rows=1, label=label)


def examples_of(pipeline, store, *samples):
    dataset = Dataset(store, f"{pipeline.name}-{np.random.default_rng().integers(1 << 60)}")
    for number, rows in enumerate(samples):
        add_rows(dataset, rows, time=str(number))
    return read_examples(pipeline, dataset, dataset.samples())


def splits_of(examples):
    """hash -> split"""
    return dict(zip(examples.hashes, examples.splits.tolist(), strict=True))


def test_the_splits_of_the_split_have_their_fractions():
    splits = [split_of(canonical_row((float(number), "red"))) for number in range(20_000)]
    shares = np.bincount(splits, minlength=3) / len(splits)
    assert shares == pytest.approx(FRACTIONS, abs=0.01)


def test_another_salt_gives_another_split():
    rows = [canonical_row((float(number),)) for number in range(200)]
    assert [split_of(row) for row in rows] != [split_of(row, "another") for row in rows]


def test_no_example_changes_its_split_when_data_grow(pipeline, store):
    rows = flower_rows(300)
    few, many = examples_of(pipeline, store, rows[:100]), examples_of(pipeline, store, rows[100:], rows[:100])
    assert splits_of(few).items() <= splits_of(many).items()
    assert len(splits_of(many)) == 300


def test_the_split_does_not_depend_on_the_label(pipeline, store):
    rows = flower_rows(200)
    relabelled = [[row[0], "small" if number % 2 else "large", *row[2:]] for number, row in enumerate(rows)]
    assert splits_of(examples_of(pipeline, store, rows)) == splits_of(examples_of(pipeline, store, relabelled))


def test_duplicates_are_one_example_however_their_values_are_spelt(pipeline, store):
    rows = flower_rows(200)
    respelt = [[f"{float(row[0]):.6e}", row[1], f" {row[2]}.0", *row[3:]] for row in rows]
    once, twice = examples_of(pipeline, store, rows), examples_of(pipeline, store, rows, rows[::-1], respelt)
    assert splits_of(once) == splits_of(twice)
    assert len(twice.hashes) == len(set(twice.hashes)) == 200


def test_the_most_frequent_of_conflicting_labels_is_used_and_the_conflict_is_counted(pipeline, store):
    rows = flower_rows(100)
    wrong = [rows[0][0], "large", *rows[0][2:]]
    examples = examples_of(pipeline, store, [wrong, *rows], rows)
    assert examples.conflicting == 1
    index = next(index for index, values in enumerate(examples.inputs) if values[0] == float(rows[0][0]))
    assert pipeline.label_values[examples.labels[index]] == rows[0][1] == "small"


def test_invalid_rows_are_not_examples(pipeline, store):
    rows = flower_rows(100)
    bad = [["high", *rows[0][1:]], ["101", *rows[0][1:]], rows[0][:-1], [rows[0][0], "huge", *rows[0][2:]], "text"]
    assert splits_of(examples_of(pipeline, store, [*bad, *rows])) == splits_of(examples_of(pipeline, store, rows))


def test_the_fingerprint_depends_on_examples_and_labels_but_not_on_their_order(pipeline, store):
    rows = flower_rows(100)
    fingerprint = examples_of(pipeline, store, rows).fingerprint()
    assert examples_of(pipeline, store, rows[::-1], rows).fingerprint() == fingerprint
    assert examples_of(pipeline, store, rows[:-1]).fingerprint() != fingerprint
    relabelled = [[rows[0][0], "large", *rows[0][2:]], *rows[1:]]
    assert examples_of(pipeline, store, relabelled).fingerprint() != fingerprint


def test_a_stored_snapshot_lists_every_example_with_its_sample(pipeline, store):
    dataset = Dataset(store, "flowers")
    rows = flower_rows(100)
    add_rows(dataset, rows)
    examples = read_examples(pipeline, dataset, dataset.samples())
    fingerprint = store_snapshot(dataset, examples)
    assert store_snapshot(dataset, examples) == fingerprint
    add_rows(dataset, flower_rows(10, seed=1), batch=2)
    assert store.get(f"datasets/flowers/snapshots/{fingerprint}.json") is not None
    stored = load_snapshot(dataset, fingerprint)
    assert stored.recomputed_fingerprint() == stored.fingerprint == fingerprint
    assert len(stored.examples) == 100
    for example, label, split, sample, row in stored.examples:
        assert stored.samples[sample] == dataset.samples()[0].key
        assert pipeline.label_values[label] == rows[row][1]
        assert split == splits_of(examples)[example]


def test_a_stored_snapshot_finds_its_samples_again(pipeline, store):
    dataset = Dataset(store, "flowers")
    add_rows(dataset, flower_rows(100))
    fingerprint = store_snapshot(dataset, read_examples(pipeline, dataset, dataset.samples()))
    add_rows(dataset, flower_rows(10, seed=1), batch=2)
    assert [sample.batch for sample in snapshot_samples(dataset, fingerprint)] == [1]
    assert snapshot_samples(dataset, "0" * 64) is None


def test_a_stored_snapshot_keeps_its_format(pipeline, store):
    dataset = Dataset(store, "flowers")
    add_rows(dataset, flower_rows(100))
    fingerprint = store_snapshot(dataset, read_examples(pipeline, dataset, dataset.samples()))
    stored = json.loads(store.get(keys.snapshot("flowers", fingerprint)).body)
    assert stored.keys() == {"fingerprint", "created", "split", "labels", "samples", "columns", "examples"}
    assert stored["columns"] == ["example", "label", "part", "sample", "row"]
    assert stored["split"] == {"salt": "sabueso-1", "fractions": [0.7, 0.1, 0.2]}


def test_the_same_picture_in_two_file_formats_is_one_example(pets, store):
    dataset = Dataset(store, "pets")
    for number in range(60):
        label = ("cat", "dog")[number % 2]
        for file_format in ("PNG", "BMP"):
            add_picture(dataset, label, draw(label, number), number, file_format)
    examples = read_examples(pets, dataset, dataset.samples())
    assert (len(examples.hashes), len(dataset.samples())) == (60, 120)
    assert all(isinstance(body, bytes) for body in examples.inputs)


def test_pictures_beyond_the_limits_are_left_out(pets, store):
    dataset = Dataset(store, "pets")
    for number in range(60):
        label = ("cat", "dog")[number % 2]
        add_picture(dataset, label, draw(label, number, (160, 120) if number >= 40 else (80, 60)), number)
    limits = PictureLimits(max_megapixels=0.01)
    assert len(read_examples(pets, dataset, dataset.samples(), limits).hashes) == 40
    assert len(read_examples(pets, dataset, dataset.samples()).hashes) == 60


def test_pictures_of_a_removed_label_are_left_out(pets, store):
    dataset = Dataset(store, "pets")
    for number in range(90):
        label = ("cat", "dog", "rabbit")[number % 3]
        add_picture(dataset, label, draw("dog" if label == "rabbit" else label, number), number)
    examples = read_examples(pets, dataset, dataset.samples())
    assert np.bincount(examples.labels).tolist() == [30, 30]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (flower_rows(4), "too few examples"),
        ([row for row in flower_rows(200) if row[1] == "small"], "have the same label"),
    ],
)
def test_too_few_examples_or_labels_fail_with_the_reason(pipeline, store, rows, reason):
    with pytest.raises(TrainingFailed, match=reason):
        examples_of(pipeline, store, rows)


def test_the_numbers_and_names_of_the_parts_do_not_change():
    assert [(int(split), split.label) for split in Split] == [(0, "train"), (1, "tune"), (2, "holdout")]
