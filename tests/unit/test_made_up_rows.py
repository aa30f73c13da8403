"""The made-up rows look like covertype rows and can be learnt; files of the same form are read."""

import collections
import gzip
import re

import numpy as np
import pytest

from local.made_up_rows import AREAS, COLUMNS, made_up_rows, read_rows

RANGES = {
    "Elevation": (1876, 3848),
    "Aspect": (0, 360),
    "Slope": (0, 57),
    "Horizontal_Distance_To_Hydrology": (0, 1358),
    "Vertical_Distance_To_Hydrology": (-166, 597),
    "Horizontal_Distance_To_Roadways": (0, 7097),
    "Hillshade_9am": (0, 254),
    "Hillshade_Noon": (0, 254),
    "Hillshade_3pm": (0, 254),
    "Horizontal_Distance_To_Fire_Points": (0, 7140),
}


@pytest.fixture(scope="module")
def rows():
    return made_up_rows(20_000, seed=5)


def column(rows, name):
    return [row[COLUMNS.index(name)] for row in rows]


def test_every_row_has_all_columns_as_text(rows):
    assert len(rows) == 20_000
    assert all(len(row) == len(COLUMNS) == 13 for row in rows)
    assert all(type(value) is str for row in rows for value in row)


@pytest.mark.parametrize("name", RANGES)
def test_numbers_are_integers_inside_the_range_of_the_real_data(rows, name):
    values = [int(value) for value in column(rows, name)]
    least, most = RANGES[name]
    assert least <= min(values) < max(values) <= most


def test_categories_are_those_of_the_real_data(rows):
    assert set(column(rows, "Wilderness_Area")) == set(AREAS)
    soils = set(column(rows, "Soil_Type"))
    assert 35 <= len(soils) <= 40
    assert all(re.fullmatch(r"C[2-8]\d{3}", soil) for soil in soils)


def test_seven_covers_two_of_them_common_and_none_too_rare_to_measure(rows):
    shares = {label: n / len(rows) for label, n in collections.Counter(column(rows, "Cover_Type")).items()}
    assert set(shares) == set("0123456")
    assert shares["0"] + shares["1"] > 0.7
    assert min(shares.values()) >= 0.015


def test_a_slope_to_the_east_is_lighter_in_the_morning_than_in_the_afternoon(rows):
    steep_east = [row for row in rows if 80 <= int(row[1]) <= 100 and int(row[2]) > 20]
    assert steep_east
    assert all(int(row[6]) > int(row[8]) for row in steep_east)


def test_the_features_determine_most_covers(rows):
    features = np.array([row[:10] for row in rows], float)
    features = (features - features.mean(axis=0)) / features.std(axis=0) * ([3] + [0.3] * 9)
    areas = np.array([[row[10] == area for area in AREAS] for row in rows], float)
    features = np.hstack([features, areas])
    labels = np.array(column(rows, "Cover_Type"), int)
    seen, asked = features[:8000], features[-500:]
    distances = (seen**2).sum(axis=1) - 2 * asked @ seen.T
    nearest = labels[np.argsort(distances, axis=1)[:, :15]]
    guesses = np.array([np.bincount(row, minlength=7).argmax() for row in nearest])
    assert 0.72 < (guesses == labels[-500:]).mean() < 0.92


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    assert made_up_rows(50, seed=1) == made_up_rows(50, seed=1) != made_up_rows(50, seed=2)


def test_a_csv_and_a_compressed_csv_are_read(tmp_path):
    rows = made_up_rows(3)
    text = "\n".join(",".join(row) for row in [COLUMNS, *rows]) + "\n"
    (tmp_path / "rows.csv").write_text(text)
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert read_rows(tmp_path / "rows.csv") == read_rows(str(tmp_path / "rows.csv.gz")) == rows


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([], "it has no header"),
        (COLUMNS[1:], "missing columns: Elevation"),
        ([*COLUMNS, "Id"], "unknown columns: Id"),
        (COLUMNS[::-1], "not in the expected order"),
    ],
)
def test_a_wrong_header_is_refused_with_the_difference(tmp_path, header, message):
    path = tmp_path / "rows.csv"
    path.write_text(",".join(header))
    with pytest.raises(ValueError, match=message):
        read_rows(path)


def test_a_row_of_another_length_is_refused_with_its_line(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(",".join(COLUMNS) + "\n1,2,3\n")
    with pytest.raises(ValueError, match="line 2: 3 columns, not 13"):
        read_rows(path)
