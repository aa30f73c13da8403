"""Reading CSV rows by column name."""

import io

import pytest

from common.csv_rows import csv_rows
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
