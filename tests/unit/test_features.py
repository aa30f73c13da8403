"""Rows are read, hashed and encoded in the same way by train and classify."""

import numpy as np
import pytest

from classify.columns import NumberCache, read_columns
from common.inference.contract import Column, CyclicFeature, NumberFeature, Title
from common.inference.features import canonical_row, encode_rows, encoded_shape, read_row
from train.fit.row_features import fit_features


def column(name, column_type="number", **limits):
    return Column(name=name, type=column_type, title=Title(en=name, es=name), **limits)


COLUMNS = [
    column("petal", min=0, max=100),
    column("turn", cyclic=360),
    column("colour", "category"),
    column("place", "category", values=["sun", "shade"]),
    column("height"),
]
GOOD = {"petal": 51, "turn": "90", "colour": " red ", "place": "sun", "height": -2.5}
HEIGHT = NumberFeature(name="height", centre=1.0, scale=0.5)


def errors_of(**changes):
    return [(error.field, error.detail) for error in read_row({**GOOD, **changes}, COLUMNS)[1]]


def test_a_row_is_read_in_the_order_of_the_columns():
    values, errors = read_row(dict(reversed(GOOD.items())), COLUMNS)
    assert (values, errors) == ((51.0, 90.0, "red", "sun", -2.5), [])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("petal", "high", "must be a number, not 'high'"),
        ("petal", 100.5, "100.5 is outside 0..100"),
        ("petal", "-1", "-1 is outside 0..100"),
        ("petal", "nan", "must be a finite number"),
        ("petal", float("inf"), "must be a finite number"),
        ("petal", True, "must be a number"),
        ("petal", None, "must be a number"),
        ("petal", [1], "must be a number"),
        ("petal", "", "must be a number, not ''"),
        ("petal", "1_0", "must be a number, not '1_0'"),
        ("petal", 10**400, "must be a number"),
        ("place", "moon", "'moon' is not one of: sun, shade"),
        ("colour", "", "must be a text of 1 to 200 characters"),
        ("colour", "x" * 201, "must be a text of 1 to 200 characters"),
        ("colour", True, "must be a text"),
        ("colour", {}, "must be a text"),
    ],
)
def test_an_invalid_value_is_reported_with_its_column(name, value, message):
    [(field, detail)] = errors_of(**{name: value})
    assert (field, detail[: len(message)]) == (name, message)


def test_all_errors_of_a_row_are_reported_at_once():
    raw = {"petal": "high", "colour": "red", "place": "moon", "height": 1, "weight": 3}
    errors = read_row(raw, COLUMNS)[1]
    assert {error.field for error in errors} == {"petal", "turn", "place", "weight"}


def test_equal_numbers_have_one_canonical_form():
    forms = {canonical_row((value, "red")) for value in (51, 51.0, float("51"), float("5.1e1"))}
    assert len(forms) == 1
    assert canonical_row((0.0,)) == canonical_row((-0.0,))


def test_different_rows_have_different_canonical_forms():
    rows = [(51.0, "red"), (51.5, "red"), (51.0, "Red"), (51.0, 'r","ed'), (51.0, "r", "ed")]
    assert len({canonical_row(row) for row in rows}) == len(rows)


def fitted():
    """Five rows, and the features fitted on them."""
    values = ((0, "red"), (10, "blue"), (20, "red"), (30, "white"), (100, "red"))
    rows = [read_row({**GOOD, "petal": petal, "colour": colour}, COLUMNS)[0] for petal, colour in values]
    return rows, fit_features(rows, COLUMNS)


def test_the_encoding_has_the_announced_shape():
    rows, features = fitted()
    numbers, slots = encoded_shape(features)
    encoded = encode_rows(rows, features)
    assert (numbers, slots) == (4, [4, 3])
    assert (encoded.shape, encoded.dtype) == ((5, numbers + len(slots)), np.float32)


def test_a_number_is_centred_by_its_median_and_scaled_by_its_quartiles():
    _, features = fitted()
    assert (features[0].centre, features[0].scale) == (20, 20)
    encoded = encode_rows([(20, 0, "red", "sun", -2.5), (40, 0, "red", "sun", -2.5)], features)
    assert encoded[:, 0] == pytest.approx([0, 1 / np.sqrt(1 + 1 / 9)])


@pytest.mark.parametrize("value", [1e3, -1e3, 1e200, -1e300, 1.7e308, -1.7e308])
def test_the_encoding_of_any_number_stays_within_three(value):
    encoded = float(encode_rows([(value,)], [HEIGHT])[0, 0])
    assert encoded == pytest.approx(3 * np.sign(value), abs=1e-3)


def test_clipping_keeps_the_order_of_numbers():
    encoded = encode_rows([(value,) for value in (-9.0, -1.0, 0.0, 1.0, 2.0, 9.0, 50.0)], [HEIGHT])[:, 0]
    assert (np.diff(encoded) > 0).all()


def test_a_cyclic_number_has_the_same_encoding_at_both_ends_of_its_period():
    turn = CyclicFeature(name="turn", period=360.0)
    start, end, half = encode_rows([(0.0,), (360.0,), (180.0,)], [turn])
    assert start == pytest.approx(end, abs=1e-6)
    assert np.abs(start - half).max() == pytest.approx(2)


def test_unseen_categories_share_one_slot():
    _, features = fitted()
    colours = ("red", "blue", "white", "green", "grey")
    slots = encode_rows([(1, 1, colour, "sun", 1) for colour in colours], features)[:, 4]
    assert slots[3] == slots[4] == 0
    assert len(set(slots[:3])) == 3
    assert 0 not in slots[:3]


def test_a_closed_list_has_a_slot_for_each_value_even_unseen_ones():
    _, features = fitted()
    assert features[3].vocabulary == ["shade", "sun"]


def test_a_column_of_one_value_is_encoded_as_finite_numbers():
    rows = [(5.0,)] * 10
    features = fit_features(rows, [column("same")])
    assert np.isfinite(encode_rows([*rows, (6.0,)], features)).all()


def test_a_full_number_cache_does_not_change_the_numbers(monkeypatch):
    monkeypatch.setattr("classify.columns.MAX_NUMBERS", 3)
    numbers, columns = NumberCache(), [column("x")]
    for _ in range(2):
        [values] = read_columns([["1", "1.0", " 2 ", "-3e2", "0.1", "1"]], columns, numbers)
        assert values.tolist() == [1.0, 1.0, 2.0, -300.0, 0.1, 1.0]
    assert len(numbers) == 3
    for wrong in ("", "x", "1_0", "nan", "inf"):
        for _ in range(2):
            assert read_columns([["1", wrong]], columns, numbers) is None
