"""The demo's data API behaves like the real service, faults included."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

from local.data_api import Faults, create_data_api
from local.made_up_rows import COLUMNS, made_up_rows
from shapes import validate

SCRIPTS = Path(__file__).parents[2] / "scripts"
ROWS = made_up_rows(2000)
COMPLETE = {"detail": "Ya se recolectó toda la información minima necesaria"}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def client(clock, **options):
    options = {"window_s": 300, "made_up": True, "clock": clock, **options}
    return create_data_api(ROWS, **options).test_client()


def ask(api, group=1):
    return api.get(f"/data?group_number={group}")


def keys(answer):
    return {tuple(row) for row in answer.json["data"]}


def windows(api, clock, group, count=10):
    """The first answer of each window."""
    for _ in range(count):
        yield ask(api, group)
        clock.now += 300


def test_an_answer_keeps_the_schema_and_is_a_tenth_of_the_slice_without_repeats(clock):
    answer = ask(client(clock), 3)
    validate(answer.json, "data")
    assert (answer.status_code, answer.json["group_number"], answer.json["batch_number"]) == (200, 3, 1)
    assert len(answer.json["data"]) == len(keys(answer)) == 20
    assert b", " not in answer.data


def test_answers_of_a_window_are_fresh_draws(clock):
    api = client(clock)
    assert ask(api).json["data"] != ask(api).json["data"]


def test_a_window_lasts_its_time_and_then_advances_when_asked(clock):
    api = client(clock)
    numbers = []
    for step in (0, 299.9, 0.1, 299.9, 0.1):
        clock.now += step
        numbers.append(ask(api).json["batch_number"])
    assert numbers == [1, 1, 2, 2, 3]


def test_a_long_pause_advances_only_one_window(clock):
    api = client(clock)
    ask(api)
    clock.now += 10_000
    assert [ask(api).json["batch_number"] for _ in range(2)] == [2, 2]


def test_the_first_window_begins_with_the_first_request(clock):
    api = client(clock)
    clock.now += 10_000
    assert ask(api).json["batch_number"] == 1


def test_the_first_request_of_window_ten_gets_data_and_every_later_one_400(clock):
    api = client(clock)
    assert [answer.json["batch_number"] for answer in windows(api, clock, 1)] == list(range(1, 11))
    for _ in range(3):
        answer = ask(api)
        assert (answer.status_code, answer.json) == (400, COMPLETE)
        clock.now += 300


def test_groups_advance_independently(clock):
    api = client(clock)
    ask(api, 1)
    clock.now += 300
    assert [ask(api, 1).json["batch_number"], ask(api, 2).json["batch_number"]] == [2, 1]


def test_group_ten_fails_at_every_window_and_never_has_data(clock):
    api = client(clock)
    assert {answer.status_code for answer in windows(api, clock, 10)} == {500}
    assert (ask(api, 10).status_code, ask(api, 10).json) == (400, COMPLETE)


@pytest.mark.parametrize(
    ("query", "status"),
    [("0", 400), ("11", 400), ("-1", 400), ("9" * 30, 422), ("one", 422), ("1.5", 422), ("", 422)],
)
@pytest.mark.parametrize("path", ["/data", "/restart_data_generation"])
def test_an_invalid_group_is_refused_with_a_detail(clock, path, query, status):
    answer = client(clock).get(f"{path}?group_number={query}")
    assert answer.status_code == status
    assert answer.json["detail"]


def test_a_restart_starts_over_at_one(clock):
    api = client(clock)
    list(windows(api, clock, 1))
    assert ask(api).status_code == 400
    assert api.get("/restart_data_generation?group_number=1").json == {"ok": True}
    assert ask(api).json["batch_number"] == 1


def test_per_group_every_window_draws_from_one_slice_and_groups_share_nothing(clock):
    api = client(clock)
    first, second = (
        set().union(*(keys(ask(api, group)) for _ in range(200)), *map(keys, windows(api, clock, group, 9)))
        for group in (1, 2)
    )
    assert len(first) == len(second) == 200
    assert not first & second


def test_per_batch_each_window_draws_from_another_slice(clock):
    api = client(clock, mode="per-batch")
    found = list(map(keys, windows(api, clock, 1)))
    assert len(set().union(*found)) == sum(map(len, found))


def test_per_batch_the_second_group_is_one_slice_ahead(clock):
    api = client(clock, mode="per-batch")
    ask(api, 1)
    ahead = set().union(*(keys(ask(api, 2)) for _ in range(200)))
    clock.now += 300
    assert keys(ask(api, 1)) <= ahead


def test_the_same_seed_gives_the_same_answers(clock):
    answers = [ask(client(clock, seed=seed)).json for seed in (4, 4, 5)]
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize("made_up", [True, False])
def test_every_answer_says_whether_its_rows_are_made_up(clock, made_up):
    api = client(clock, made_up=made_up)
    for group, status in ((1, 200), (10, 500), (11, 400), ("x", 422)):
        answer = ask(api, group)
        assert answer.status_code == status
        assert answer.headers.get("X-Sabueso-Data") == ("made-up" if made_up else None)
    assert api.get("/").json["made_up"] is made_up


def test_the_start_page_describes_the_service(clock):
    about = client(clock, mode="per-batch").get("/").json
    assert (about["mode"], about["window_s"], about["rows"]) == ("per-batch", 300, 2000)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="99 rows are too few"):
        create_data_api(ROWS[:99], window_s=1, made_up=True)


@pytest.mark.parametrize(("kinds", "rate"), [(("typo",), 0.3), ((), 0.3), (("500",), 2)])
def test_unknown_faults_are_refused(kinds, rate):
    with pytest.raises(ValueError, match="fault"):
        Faults(kinds, rate)


def test_the_rate_is_the_share_of_failing_answers(clock):
    api = client(clock, faults=Faults(("500",)))
    failed = sum(ask(api).status_code == 500 for _ in range(1000))
    assert 240 < failed < 360


def test_a_failed_answer_uses_up_the_request(clock):
    api = client(clock, faults=Faults(("500",), rate=1))
    assert {answer.status_code for answer in windows(api, clock, 1)} == {500}
    assert ask(api).status_code == 400


def test_an_invalid_row_comes_in_an_otherwise_valid_answer(clock):
    api = client(clock, faults=Faults(("row",), rate=1))
    seen = set()
    for _ in range(50):
        answer = ask(api)
        validate(answer.json, "data")
        wrong = keys(answer) - {tuple(row) for row in ROWS}
        assert (answer.status_code, len(answer.json["data"])) == (200, 20)
        assert 1 <= len(wrong) <= 3
        for row in wrong:
            short, text = len(row) < len(COLUMNS), not row[0].isdigit()
            seen.add("short" if short else "text" if text else "label" if row[-1] == "99" else "range")
    assert seen == {"short", "text", "label", "range"}


def test_a_faulty_answer_does_not_change_the_rows(clock):
    before = json.dumps(ROWS)
    api = client(clock, faults=Faults(("row",), rate=1))
    for _ in range(20):
        ask(api)
    assert json.dumps(ROWS) == before


def test_many_threads_get_complete_answers(clock):
    app = create_data_api(ROWS, window_s=300, made_up=True, clock=clock)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.extend(ask(app.test_client()) for _ in range(20))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(answer.json["data"]) for answer in answers] == [20] * 80


@contextlib.contextmanager
def served(*options):
    """The command line's own process on a free port; gives the process and the URL."""
    command = [sys.executable, "-m", "local.data_api", "--port", "0", "--rows", "2000", *options]
    with subprocess.Popen(command, cwd=SCRIPTS, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.kill()


def test_a_cut_answer_promises_more_than_it_sends_and_the_next_request_works():
    with served("--faults", "cut", "--fault-rate", "1") as (_, url), requests.Session() as session:
        for _ in range(2):
            with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
                session.get(f"{url}/data?group_number=1", timeout=30)
        with session.get(f"{url}/data?group_number=1", stream=True, timeout=30) as answer:
            promised = int(answer.headers["Content-Length"])
            assert (answer.status_code, answer.headers["X-Sabueso-Data"]) == (200, "made-up")
            got = answer.raw.read(promised // 2)
            assert len(got) == promised // 2
            assert got.startswith(b'{"group_number":1,"batch_number":1,"data":[[')
        assert session.get(url, timeout=30).json()["faults"] == ["cut"]


def test_a_hanging_answer_blocks_neither_other_requests_nor_the_end():
    with served("--faults", "hang", "--fault-rate", "1") as (process, url):
        for _ in range(3):
            with pytest.raises(requests.exceptions.ReadTimeout):
                requests.get(f"{url}/data?group_number=1", timeout=0.2)
        assert requests.get(url, timeout=30).json()["made_up"] is True
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0  # its answers hang for 60 s


def test_a_hanging_answer_arrives_in_the_end():
    options = ("--faults", "hang", "--fault-rate", "1", "--hang", "0.3", "--window", "0.1")
    with served(*options) as (_, url):
        numbers = [requests.get(f"{url}/data?group_number=1", timeout=30).json()["batch_number"] for _ in "ab"]
    assert numbers == [1, 2]


def test_a_csv_is_served_unchanged(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(",".join(row) for row in [COLUMNS, *ROWS[:100]]))
    with served("--csv", str(path)) as (_, url):
        answer = requests.get(f"{url}/data?group_number=1", timeout=30)
    assert answer.json()["data"][0] in ROWS[:100]
    assert "X-Sabueso-Data" not in answer.headers


def test_a_wrong_option_is_reported_on_one_line():
    command = [sys.executable, "-m", "local.data_api", "--port", "0", "--faults", "rain"]
    ended = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].endswith("unknown faults: rain; choose from 500, cut, row, hang")
