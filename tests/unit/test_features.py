"""Rows are read, hashed and encoded in one way, the same for train and classify."""

import numpy as np
import pytest

from common.features import Numbers, canonical_row, encode_rows, encoded_shape, fit_features, read_columns, read_row

COLUMNS = [
    {"name": "petal", "type": "number", "min": 0, "max": 100},
    {"name": "turn", "type": "number", "cyclic": 360},
    {"name": "colour", "type": "category"},
    {"name": "place", "type": "category", "values": ("sun", "shade")},
    {"name": "height", "type": "number"},
]
GOOD = {"petal": 51, "turn": "90", "colour": " red ", "place": "sun", "height": -2.5}
NUMBER = {"name": "height", "type": "number", "centre": 1.0, "scale": 0.5}


def mistakes(**changes):
    return [(error.field, error.detail) for error in read_row({**GOOD, **changes}, COLUMNS)[1]]


def test_a_row_is_read_in_the_columns_order_whatever_its_own():
    values, errors = read_row(dict(reversed(GOOD.items())), COLUMNS)
    assert (values, errors) == ((51.0, 90.0, "red", "sun", -2.5), [])


@pytest.mark.parametrize(
    ("column", "value", "told"),
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
        ("place", "moon", "'moon' is none of: sun, shade"),
        ("colour", "", "must be a text of 1 to 200 characters"),
        ("colour", "x" * 201, "must be a text of 1 to 200 characters"),
        ("colour", True, "must be a text"),
        ("colour", {}, "must be a text"),
    ],
)
def test_a_value_that_can_t_be_used_is_told_with_its_column(column, value, told):
    [(field, detail)] = mistakes(**{column: value})
    assert (field, detail[: len(told)]) == (column, told)


def test_every_mistake_of_a_row_is_told_at_once():
    raw = {"petal": "high", "colour": "red", "place": "moon", "height": 1, "weight": 3}
    errors = read_row(raw, COLUMNS)[1]
    assert {error.field for error in errors} == {"petal", "turn", "place", "weight"}


def test_equal_numbers_have_one_spelling():
    spellings = {canonical_row((value, "red")) for value in (51, 51.0, float("51"), float("5.1e1"))}
    assert len(spellings) == 1
    assert canonical_row((0.0,)) == canonical_row((-0.0,))


def test_different_rows_have_different_spellings():
    rows = [(51.0, "red"), (51.5, "red"), (51.0, "Red"), (51.0, 'r","ed'), (51.0, "r", "ed")]
    assert len({canonical_row(row) for row in rows}) == len(rows)


def fitted():
    rows = [read_row({**GOOD, "petal": petal, "colour": colour}, COLUMNS)[0] for petal, colour in
            ((0, "red"), (10, "blue"), (20, "red"), (30, "white"), (100, "red"))]  # fmt: skip
    return rows, fit_features(rows, COLUMNS)


def test_the_encoding_has_the_shape_that_it_announces():
    rows, parameters = fitted()
    numbers, slots = encoded_shape(parameters)
    encoded = encode_rows(rows, parameters)
    assert (numbers, slots) == (4, [4, 3])
    assert (encoded.shape, encoded.dtype) == ((5, numbers + len(slots)), np.float32)


def test_a_number_is_centred_by_its_median_and_scaled_by_its_quartiles():
    _, parameters = fitted()
    assert (parameters[0]["centre"], parameters[0]["scale"]) == (20, 20)
    encoded = encode_rows([(20, 0, "red", "sun", -2.5), (40, 0, "red", "sun", -2.5)], parameters)
    assert encoded[:, 0] == pytest.approx([0, 1 / np.sqrt(1 + 1 / 9)])


@pytest.mark.parametrize("value", [1e3, -1e3, 1e200, -1e300, 1.7e308, -1.7e308])
def test_however_large_a_number_is_its_encoding_stays_within_three(value):
    encoded = float(encode_rows([(value,)], [NUMBER])[0, 0])
    assert encoded == pytest.approx(3 * np.sign(value), abs=1e-3)


def test_clipping_keeps_the_order_of_numbers():
    encoded = encode_rows([(value,) for value in (-9.0, -1.0, 0.0, 1.0, 2.0, 9.0, 50.0)], [NUMBER])[:, 0]
    assert (np.diff(encoded) > 0).all()


def test_a_cyclic_number_ends_where_it_begins():
    parameter = {"name": "turn", "type": "cyclic", "period": 360.0}
    start, end, half = encode_rows([(0.0,), (360.0,), (180.0,)], [parameter])
    assert start == pytest.approx(end, abs=1e-6)
    assert np.abs(start - half).max() == pytest.approx(2)


def test_categories_never_seen_share_one_slot_of_their_own():
    _, parameters = fitted()
    colours = ("red", "blue", "white", "green", "grey")
    slots = encode_rows([(1, 1, colour, "sun", 1) for colour in colours], parameters)[:, 4]
    assert slots[3] == slots[4] == 0
    assert len(set(slots[:3])) == 3
    assert 0 not in slots[:3]


def test_a_closed_list_has_a_slot_for_each_value_even_those_never_seen():
    _, parameters = fitted()
    assert parameters[3]["vocabulary"] == ["shade", "sun"]


def test_a_column_of_one_value_is_encoded_as_finite_numbers():
    rows = [(5.0,)] * 10
    parameters = fit_features(rows, [{"name": "same", "type": "number"}])
    assert np.isfinite(encode_rows([*rows, (6.0,)], parameters)).all()


def test_texts_are_read_as_the_same_numbers_however_many_came_before(monkeypatch):
    monkeypatch.setattr("common.features.MOST_NUMBERS", 3)
    numbers, column = Numbers(), {"name": "x", "type": "number"}
    for _ in range(2):
        [found] = read_columns([["1", "1.0", " 2 ", "-3e2", "0.1", "1"]], [column], numbers)
        assert found.tolist() == [1.0, 1.0, 2.0, -300.0, 0.1, 1.0]
    assert len(numbers) == 3
    for wrong in ("", "x", "1_0", "nan", "inf"):
        for _ in range(2):
            assert read_columns([["1", wrong]], [column], numbers) is None
