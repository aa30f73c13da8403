"""The source `table`: CSV files in chunks; each row is stored once."""

import csv
import io

import pytest
from flask import Flask, send_file

from common.storage.dataset import Dataset, rows_of
from fetch_batch.app import create_app
from flowers import COLUMNS, flower_rows, write_csv

ROWS = flower_rows(100)


@pytest.fixture
def make_client(make_settings, store):
    """A client of fetch-batch that collects flowers, 40 rows a fetch."""

    def make(source):
        settings = make_settings("flowers", FLOWERS_SOURCE=source, SABUESO_MIN_INTERVAL_S="0.000001")
        return create_app(settings, store).test_client()

    return make


def fetch(client):
    answer = client.post("/flowers")
    assert answer.status_code == 200, answer.text
    return answer.json["results"][0]


def stored_rows(store):
    dataset = Dataset(store, "flowers")
    return [row for sample, body in dataset.bodies(dataset.samples()) for row in rows_of(sample, body, COLUMNS)]


def test_each_fetch_takes_the_next_rows_until_the_table_ends(make_client, store, tmp_path):
    client = make_client(write_csv(tmp_path / "flowers.csv", ROWS))
    for _ in range(3):
        assert fetch(client)["status"] == "collected"
    assert [fetch(client)["status"] for _ in range(2)] == ["complete"] * 2
    status = client.get("/flowers").json
    assert [batch["examples"] for batch in status["batches"]] == [40, 40, 20]
    assert (status["complete"], status["missing_batches"], status["examples"]) == (True, [], 100)
    assert stored_rows(store) == ROWS


def test_rows_added_later_are_collected(make_client, store, tmp_path):
    table = write_csv(tmp_path / "flowers.csv", ROWS[:30])
    client = make_client(table)
    assert [fetch(client)["status"] for _ in range(2)] == ["collected", "complete"]
    write_csv(table, ROWS[:50])
    assert fetch(client)["status"] == "collected"
    assert stored_rows(store) == ROWS[:50]


@pytest.mark.parametrize("where", ["gz", "folder", "url", "gz-url"])
def test_a_table_is_read_from(make_client, store, tmp_path, serve, where):
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
    assert fetch(make_client(source))["stored"] == 1
    assert stored_rows(store) == ROWS[:40]


def test_columns_are_read_by_name_in_any_order(make_client, store, tmp_path):
    header = ["note", *reversed(COLUMNS)]
    table = write_csv(tmp_path / "flowers.csv", [["a note", *reversed(row)] for row in ROWS[:40]], header)
    fetch(make_client(table))
    assert stored_rows(store) == ROWS[:40]


def test_a_table_with_a_byte_order_mark_and_quotes_is_read(make_client, store, tmp_path):
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([COLUMNS, *ROWS[:5]])
    table = tmp_path / "flowers.csv"
    table.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    fetch(make_client(table))
    assert stored_rows(store) == ROWS[:5]


def test_missing_columns_are_named_and_nothing_is_stored(make_client, store, tmp_path):
    table = write_csv(tmp_path / "flowers.csv", [row[1:4] for row in ROWS], COLUMNS[1:4])
    client = make_client(table)
    result = fetch(client)
    assert (result["status"], result["stored"]) == ("source-unavailable", 0)
    assert "lacks columns: petal, place; its header has: species, turn, colour" in result["message"]
    assert client.get("/flowers").json["complete"] is False
    assert stored_rows(store) == []


def test_a_missing_header_is_reported_without_showing_data(make_client, tmp_path):
    table = tmp_path / "flowers.csv"
    table.write_text("40.125,middle,90,red,sun\n41.5,middle,20,blue,sun\n")
    result = fetch(make_client(table))
    assert "its first line names none of the columns" in result["message"]
    assert "40.125" not in result["message"]


@pytest.mark.parametrize("body", [b"\x1f\x8bbroken", b"\xff\xfe\x00p"], ids=["gzip", "encoding"])
def test_an_unreadable_table_is_reported(make_client, tmp_path, body):
    table = tmp_path / "flowers.csv"
    table.write_bytes(body)
    result = fetch(make_client(table))
    assert result["status"] == "source-unavailable"
    assert "flowers.csv" in result["message"]


def test_wrong_rows_are_quarantined_and_counted(make_client, tmp_path):
    bad = [["high", *ROWS[0][1:]], ["101", *ROWS[0][1:]], ROWS[0][:2], ["5", "huge", "1", "red", "sun"]]
    client = make_client(write_csv(tmp_path / "flowers.csv", [*bad, *ROWS[:10]]))
    assert fetch(client)["quarantined"] == 4
    status = client.get("/flowers").json
    assert (status["examples"], status["quarantine"]["rows"]) == (10, 4)
    reasons = {(reason["field"], reason["detail"]) for reason in status["quarantine"]["reasons"]}
    assert {("petal", "must be a number, not 'high'"), ("petal", "101 is outside 0..100")} <= reasons
    assert ("species", "'huge' is not a label") in reasons
    assert ("place", "must be a text of 1 to 200 characters") in reasons


def test_a_table_without_rows_is_complete_and_says_so(make_client, tmp_path):
    client = make_client(write_csv(tmp_path / "flowers.csv", []))
    assert fetch(client)["status"] == "complete"
    assert "never gave any data" in client.get("/flowers").json["message"]


def test_a_missing_table_is_reported(make_client, tmp_path):
    result = fetch(make_client(tmp_path / "nowhere.csv"))
    assert result["status"] == "source-unavailable"
    assert f"there is no file or folder {tmp_path}/nowhere.csv" in result["message"]


def test_a_folder_without_a_table_is_reported_with_its_contents(make_client, tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.xlsx").write_bytes(b"a sheet")
    result = fetch(make_client(folder))
    assert result["status"] == "source-unavailable"
    assert "holds no CSV file (.csv, .csv.gz); it holds 0.xlsx, 1.xlsx, " in result["message"]
    assert "7.xlsx and 2 more" in result["message"]
