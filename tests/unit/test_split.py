"""An example stays on its side for good, whatever comes after it and whatever its label."""

import io
import json

import numpy as np
import pytest

from common.datasets import Dataset
from common.errors import TrainingFailed
from common.features import canonical_row
from common.pipelines import read_pipelines
from flowers import COLUMNS, draw, encode, flower_rows
from train.snapshot import FRACTIONS, PARTS, part_of, read_examples, snapshot_samples, store_snapshot


@pytest.fixture
def pipeline(make_settings):
    return read_pipelines(make_settings("flowers").pipelines)["flowers"]


@pytest.fixture
def pets(make_settings):
    return read_pipelines(make_settings("pets").pipelines)["pets"]


def add(dataset, rows, batch=1, time="a", **more):
    meta = {"format": "json", "time": time, "made_up": True, "intent": None, **more}
    dataset.add_sample(batch, json.dumps({"data": rows}).encode(), meta)


def examples_of(pipeline, store, *samples):
    dataset = Dataset(store, f"{pipeline.name}-{np.random.default_rng().integers(1 << 60)}")
    for number, rows in enumerate(samples):
        add(dataset, rows, time=str(number))
    return read_examples(pipeline, dataset, dataset.samples())


def sides(examples):
    return dict(zip(examples.hashes, examples.parts.tolist(), strict=True))


def test_the_parts_have_their_shares():
    parts = [part_of(canonical_row((float(number), "red"))) for number in range(20_000)]
    shares = np.bincount(parts, minlength=3) / len(parts)
    assert shares == pytest.approx(FRACTIONS, abs=0.01)


def test_another_salt_is_another_split():
    rows = [canonical_row((float(number),)) for number in range(200)]
    assert [part_of(row) for row in rows] != [part_of(row, "another") for row in rows]


def test_no_example_changes_sides_when_data_grow(pipeline, store):
    rows = flower_rows(300)
    few, many = examples_of(pipeline, store, rows[:100]), examples_of(pipeline, store, rows[100:], rows[:100])
    assert sides(few).items() <= sides(many).items()
    assert len(sides(many)) == 300


def test_the_label_has_no_part_in_the_split(pipeline, store):
    rows = flower_rows(200)
    others = [[row[0], "small" if number % 2 else "large", *row[2:]] for number, row in enumerate(rows)]
    assert sides(examples_of(pipeline, store, rows)) == sides(examples_of(pipeline, store, others))


def test_a_duplicate_is_one_example_on_one_side_however_it_is_spelt(pipeline, store):
    rows = flower_rows(200)
    spelt = [[f"{float(row[0]):.6e}", row[1], f" {row[2]}.0", *row[3:]] for row in rows]
    once, twice = examples_of(pipeline, store, rows), examples_of(pipeline, store, rows, rows[::-1], spelt)
    assert sides(once) == sides(twice)
    assert len(twice.hashes) == len(set(twice.hashes)) == 200


def test_of_conflicting_labels_the_commoner_counts_and_the_conflict_is_counted(pipeline, store):
    rows = flower_rows(100)
    wrong = [rows[0][0], "large", *rows[0][2:]]
    examples = examples_of(pipeline, store, [wrong, *rows], rows)
    assert examples.conflicting == 1
    place = next(place for place, values in enumerate(examples.inputs) if values[0] == float(rows[0][0]))
    assert pipeline.label_values[examples.labels[place]] == rows[0][1] == "small"


def test_quarantined_rows_are_no_examples(pipeline, store):
    rows = flower_rows(100)
    bad = [["high", *rows[0][1:]], ["101", *rows[0][1:]], rows[0][:-1], [rows[0][0], "huge", *rows[0][2:]], "text"]
    assert sides(examples_of(pipeline, store, [*bad, *rows])) == sides(examples_of(pipeline, store, rows))


def test_a_snapshot_is_named_by_its_examples_and_not_by_their_order(pipeline, store):
    rows = flower_rows(100)
    name = examples_of(pipeline, store, rows).fingerprint()
    assert examples_of(pipeline, store, rows[::-1], rows).fingerprint() == name
    assert examples_of(pipeline, store, rows[:-1]).fingerprint() != name
    relabelled = [[rows[0][0], "large", *rows[0][2:]], *rows[1:]]
    assert examples_of(pipeline, store, relabelled).fingerprint() != name


def test_a_stored_snapshot_lists_every_example_and_finds_its_samples_again(pipeline, store):
    dataset = Dataset(store, "flowers")
    rows = flower_rows(100)
    add(dataset, rows)
    examples = read_examples(pipeline, dataset, dataset.samples())
    name = store_snapshot(dataset, examples)
    assert store_snapshot(dataset, examples) == name
    add(dataset, flower_rows(10, seed=1), batch=2)
    stored = json.loads(store.get(f"datasets/flowers/snapshots/{name}.json").body)
    assert len(stored["examples"]) == 100
    for example, label, part, sample, row in stored["examples"]:
        assert stored["samples"][sample] == dataset.samples()[0].key
        assert pipeline.label_values[label] == rows[row][1]
        assert part == sides(examples)[example]
    assert [sample.batch for sample in snapshot_samples(dataset, name)] == [1]
    assert snapshot_samples(dataset, "0" * 64) is None


def test_the_same_picture_in_two_files_is_one_example(pets, store):
    dataset = Dataset(store, "pets")
    for number in range(60):
        label = ("cat", "dog")[number % 2]
        for kind in ("PNG", "BMP"):
            body = encode(draw(label, number), kind)
            meta = {"format": "picture", "time": str(number), "made_up": True, "label": label}
            dataset.add_sample(1, body, meta)
    examples = read_examples(pets, dataset, dataset.samples())
    assert (len(examples.hashes), len(dataset.samples())) == (60, 120)
    assert all(isinstance(body, bytes) and io.BytesIO(body) for body in examples.inputs)


def test_pictures_of_a_label_that_is_no_more_are_left_out(pets, store):
    dataset = Dataset(store, "pets")
    for number in range(90):
        label = ("cat", "dog", "rabbit")[number % 3]
        meta = {"format": "picture", "time": str(number), "made_up": True, "label": label}
        dataset.add_sample(1, encode(draw("dog" if label == "rabbit" else label, number)), meta)
    examples = read_examples(pets, dataset, dataset.samples())
    assert np.bincount(examples.labels).tolist() == [30, 30]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (flower_rows(4), "too few examples"),
        ([row for row in flower_rows(200) if row[1] == "small"], "have the same label"),
    ],
)
def test_what_can_t_be_learnt_from_is_told(pipeline, store, rows, told):
    with pytest.raises(TrainingFailed, match=told):
        examples_of(pipeline, store, rows)


def test_parts_and_columns_are_named():
    assert PARTS == ("train", "tune", "holdout")
    assert len(COLUMNS) == 5
