"""The source `table`: CSV files in chunks, each row once."""

import csv
import io

import pytest
from flask import Flask, send_file

from common.datasets import Dataset, rows_of
from fetch_batch.app import create_app
from flowers import COLUMNS, flower_rows, write_csv

ROWS = flower_rows(100)


@pytest.fixture
def begin(make_settings, store):
    """The client of an app that collects flowers, 40 rows a fetch."""

    def start(source):
        settings = make_settings("flowers", FLOWERS_SOURCE=source, SABUESO_MIN_INTERVAL_S="0.000001")
        return create_app(settings, store).test_client()

    return start


def fetch(client):
    answer = client.post("/flowers")
    assert answer.status_code == 200, answer.text
    return answer.json["results"][0]


def stored_rows(store):
    dataset = Dataset(store, "flowers")
    return [row for sample, body in dataset.bodies(dataset.samples()) for row in rows_of(sample, body, COLUMNS)]


def test_each_fetch_takes_the_next_rows_until_the_table_ends(begin, store, tmp_path):
    client = begin(write_csv(tmp_path / "flowers.csv", ROWS))
    for _ in range(3):
        assert fetch(client)["status"] == "collected"
    assert [fetch(client)["status"] for _ in range(2)] == ["complete"] * 2
    status = client.get("/flowers").json
    assert [batch["examples"] for batch in status["batches"]] == [40, 40, 20]
    assert (status["complete"], status["missing_batches"], status["examples"]) == (True, [], 100)
    assert stored_rows(store) == ROWS


def test_rows_added_later_are_collected(begin, store, tmp_path):
    table = write_csv(tmp_path / "flowers.csv", ROWS[:30])
    client = begin(table)
    assert [fetch(client)["status"] for _ in range(2)] == ["collected", "complete"]
    write_csv(table, ROWS[:50])
    assert fetch(client)["status"] == "collected"
    assert stored_rows(store) == ROWS[:50]


@pytest.mark.parametrize("where", ["gz", "folder", "url", "gz-url"])
def test_a_table_is_read_from(begin, store, tmp_path, serve, where):
    name = "flowers.csv.gz" if "gz" in where else "flowers.csv"
    if where == "folder":
        (tmp_path / "tables").mkdir()
        write_csv(tmp_path / "tables" / "1.csv", ROWS[:10])
        write_csv(tmp_path / "tables" / "2.csv.gz", ROWS[10:40])
        (tmp_path / "tables" / "readme.txt").write_text("no table")
        source = tmp_path / "tables"
    else:
        source = write_csv(tmp_path / name, ROWS[:40])
    if "url" in where:
        site = Flask(__name__)
        site.add_url_rule(f"/{name}", view_func=lambda path=source: send_file(path))
        source = f"{serve(site).url}/{name}"
    assert fetch(begin(source))["stored"] == 1
    assert stored_rows(store) == ROWS[:40]


def test_columns_are_found_by_name_whatever_their_order_and_company(begin, store, tmp_path):
    other = ["note", *reversed(COLUMNS)]
    table = write_csv(tmp_path / "flowers.csv", [["a note", *reversed(row)] for row in ROWS[:40]], other)
    fetch(begin(table))
    assert stored_rows(store) == ROWS[:40]


def test_a_table_with_a_byte_order_mark_and_quotes_is_read(begin, store, tmp_path):
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([COLUMNS, *ROWS[:5]])
    table = tmp_path / "flowers.csv"
    table.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    fetch(begin(table))
    assert stored_rows(store) == ROWS[:5]


def test_a_missing_column_is_told_by_name_and_nothing_is_stored(begin, store, tmp_path):
    table = write_csv(tmp_path / "flowers.csv", [row[1:4] for row in ROWS], COLUMNS[1:4])
    client = begin(table)
    result = fetch(client)
    assert (result["status"], result["stored"]) == ("source-unavailable", 0)
    assert "lacks columns: petal, place; its header has: species, turn, colour" in result["message"]
    assert client.get("/flowers").json["complete"] is False
    assert stored_rows(store) == []


def test_a_table_without_a_header_is_told_and_its_first_row_is_not_shown(begin, tmp_path):
    table = tmp_path / "flowers.csv"
    table.write_text("40.125,middle,90,red,sun\n41.5,middle,20,blue,sun\n")
    result = fetch(begin(table))
    assert "its first line names none of the columns" in result["message"]
    assert "40.125" not in result["message"]


@pytest.mark.parametrize("body", [b"\x1f\x8bbroken", b"\xff\xfe\x00p"], ids=["gzip", "encoding"])
def test_a_table_that_can_t_be_read_is_told(begin, tmp_path, body):
    table = tmp_path / "flowers.csv"
    table.write_bytes(body)
    result = fetch(begin(table))
    assert result["status"] == "source-unavailable"
    assert "flowers.csv" in result["message"]


def test_wrong_rows_are_quarantined_and_counted(begin, tmp_path):
    bad = [["high", *ROWS[0][1:]], ["101", *ROWS[0][1:]], ROWS[0][:2], ["5", "huge", "1", "red", "sun"]]
    client = begin(write_csv(tmp_path / "flowers.csv", [*bad, *ROWS[:10]]))
    assert fetch(client)["quarantined"] == 4
    status = client.get("/flowers").json
    assert (status["examples"], status["quarantine"]["rows"]) == (10, 4)
    reasons = {(reason["field"], reason["detail"]) for reason in status["quarantine"]["reasons"]}
    assert {("petal", "must be a number, not 'high'"), ("petal", "101 is outside 0..100")} <= reasons
    assert ("species", "'huge' is no label") in reasons
    assert ("place", "must be a text of 1 to 200 characters") in reasons


def test_a_table_without_rows_is_complete_with_nothing_and_says_so(begin, tmp_path):
    client = begin(write_csv(tmp_path / "flowers.csv", []))
    assert fetch(client)["status"] == "complete"
    assert "never gave any data" in client.get("/flowers").json["message"]


def test_a_table_that_is_not_there_is_told(begin, tmp_path):
    result = fetch(begin(tmp_path / "nowhere.csv"))
    assert result["status"] == "source-unavailable"
    assert f"there is no file or folder {tmp_path}/nowhere.csv" in result["message"]


def test_a_folder_without_a_table_is_told_with_what_it_holds(begin, tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.xlsx").write_bytes(b"a sheet")
    result = fetch(begin(folder))
    assert result["status"] == "source-unavailable"
    assert "holds no CSV file (.csv, .csv.gz); it holds 0.xlsx, 1.xlsx, " in result["message"]
    assert "7.xlsx and 2 more" in result["message"]
