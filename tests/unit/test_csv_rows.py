"""Reading CSV rows by column name."""

import io

import pytest

from common.csv_rows import MAX_ROW_CHARACTERS, csv_rows
from common.errors import Unusable


def test_an_error_names_every_missing_column():
    with pytest.raises(Unusable) as refused:
        list(csv_rows(io.StringIO("size,colour\n1,red\n"), ["size", "name", "place"]))
    assert [error.field for error in refused.value.errors] == ["name", "place"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [("", None), ("size\n1\n2", [["1"], ["2"]]), ("other,size\n1", [[""]]), ('size\n"a\nb"', [["a\nb"]])],
    ids=["empty", "no-newline", "short-row", "newline-in-value"],
)
def test_unusual_files_give_rows_or_a_reason(text, rows):
    if rows is None:
        with pytest.raises(Unusable, match="lacks columns: size"):
            list(csv_rows(io.StringIO(text, newline=""), ["size"]))
    else:
        assert list(csv_rows(io.StringIO(text, newline=""), ["size"])) == rows


@pytest.mark.parametrize(
    "text",
    [
        "," * 2_000_000,
        "size\n" + "x" * 2_000_000,
        "size\n" + '"x\n",' * 300_000,
        "size\n" + '"' + "x\n" * 40_000 + '",\n' * 1,
    ],
    ids=["header", "row", "row-of-many-lines", "field"],
)
def test_a_row_is_never_longer_than_a_million_characters(text):
    """Its fields take eight times as much memory."""
    lines = io.StringIO(text, newline="")
    if len(text) > MAX_ROW_CHARACTERS:
        with pytest.raises(Unusable, match="more than 1,000,000 characters"):
            list(csv_rows(lines, ["size"]))
        assert lines.tell() < MAX_ROW_CHARACTERS + 10_000
    else:
        assert list(csv_rows(lines, ["size"])) == [["x\n" * 40_000]]


def test_the_length_is_counted_row_by_row():
    text = "size\n" + ("y" * 1000 + "\n") * 1500
    assert sum(1 for _ in csv_rows(io.StringIO(text, newline=""), ["size"])) == 1500


def test_a_header_of_very_many_columns_is_read_once():
    text = ",".join(f"c{number}" for number in range(100_000)) + "\n"
    names = [f"c{number}" for number in range(99_000, 100_000)]
    assert list(csv_rows(io.StringIO(text, newline=""), names)) == []
    with pytest.raises(Unusable) as refused:
        list(csv_rows(io.StringIO("size" + "é" * 5000 + ",colour\n", newline=""), ["colour", "name"]))
    assert len(refused.value.detail) < 300


def test_empty_lines_are_left_out_but_counted():
    text = "size\n1\n" + "\n" * 50
    assert list(csv_rows(io.StringIO(text, newline=""), ["size"], 52)) == [["1"]]
    with pytest.raises(Unusable, match="more than 51 lines"):
        list(csv_rows(io.StringIO(text, newline=""), ["size"], 51))
