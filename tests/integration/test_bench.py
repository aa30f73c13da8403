"""scripts/bench with real functions: its output, its errors, and the machines that it calls. No speed is asserted."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request

from benchmarks.clients import call
from benchmarks.load import is_local
from benchmarks.targets import WORKERS
from common.storage.folder import FolderStore
from conftest import HERE, KEY, SHIPPED, Served
from deploying import PLACES, Site, make_gateway
from flowers import write_csv
from local.made_up_rows import COLUMNS, made_up_rows
from servers import program

pytestmark = [pytest.mark.integration, pytest.mark.full]

MEASURE = {"pipeline", "input", "clients", "calls", "seconds", "bytes", "calls_per_s", "errors", "failed"}


def bench(command: str, *arguments: object, **given: Any) -> subprocess.CompletedProcess[str]:
    path = given.pop("path", os.environ["PATH"])
    words = [sys.executable, "-m", f"benchmarks.{command}", *map(str, arguments)]
    environment = {"PATH": path, "PYTHONPATH": os.pathsep.join(PLACES)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=300, **given)


@pytest.fixture
def wrk() -> str:
    return program("wrk", "no `wrk` on PATH; on Debian: apt install wrk")


@pytest.mark.usefixtures("wrk")
def test_load_reports_calls_times_and_errors_of_each_input(
    serving: Any, serve: Callable[[Flask], Served], site: Site, tmp_path: Path
) -> None:
    url = serve(make_gateway(serving.app, site.settings, FolderStore(tmp_path / "empty"))).url
    done = bench("load", url, "--clients", "1,2", "--seconds", "1", "--json")
    assert done.returncode == 0, done.stderr
    measures = json.loads(done.stdout)["measures"]
    pictures = [("pets", f"PNG, {size}", clients) for size in ("160 x 160", "4000 x 3000") for clients in (1, 2)]
    rows = [("flowers", name, clients) for name in ("1 row", "1000 rows") for clients in (1, 2)]
    assert sorted((one["pipeline"], one["input"], one["clients"]) for one in measures) == sorted(rows + pictures)
    for measure in measures:
        assert set(measure) == MEASURE | {"p50_ms", "p95_ms", "p99_ms"}
        assert (measure["errors"], measure["failed"]) == (0, {})
        assert measure["calls"] > 0
        assert measure["p50_ms"] <= measure["p95_ms"] <= measure["p99_ms"]
    assert bench("load", url, "--pipelines", "weeds").returncode == 1


@pytest.mark.usefixtures("wrk")
def test_load_counts_answers_that_are_errors(serving: Any, serve: Callable[[Flask], Served], tmp_path: Path) -> None:
    app, number = Flask("sometimes"), count()

    @app.route("/function/classify/<path:path>", methods=["GET", "POST"])
    @app.get("/function/classify/", defaults={"path": ""})
    def sometimes(path: str) -> Response:
        if request.method == "POST" and next(number) % 2:
            return Response("busy", 503)
        facts = {"data": request.get_data(), "headers": {"Content-Type": request.content_type or ""}}
        answer = serving.client.open(f"/{path}", method=request.method, **facts)
        return Response(answer.data, answer.status_code, content_type=answer.content_type)

    own = tmp_path / "own.png"
    own.write_bytes(b"no picture")
    url = serve(app).url
    done = bench("load", url, "--clients", "2", "--seconds", "1", "--picture", own, "--json")
    measures = {measure["input"]: measure for measure in json.loads(done.stdout)["measures"]}
    rows, picture = measures["1 row"], measures["own.png"]
    assert 0 < rows["errors"] == rows["failed"]["status"] < rows["calls"]
    assert (picture["errors"], picture["calls_per_s"]) == (picture["calls"], 0)
    done = bench("load", url, "--clients", "2", "--seconds", "1", "--picture", own)
    assert "! pets, own.png, 2 clients: {'status': " in done.stdout


def test_overload_reports_who_is_answered_and_who_is_refused(
    serving: Any, serve: Callable[[Flask], Served], site: Site, tmp_path: Path
) -> None:
    url = serve(make_gateway(serving.app, site.settings, FolderStore(tmp_path / "empty"))).url
    done = bench("load", url, "--overload", "--clients", "2", "--seconds", "1", "--json")
    assert done.returncode in (0, 1), done.stderr
    measured = json.loads(done.stdout)["overload"]
    assert [(one["pipeline"], one["input"], one["clients"]) for one in measured] == [
        ("flowers", "1 row", 2),
        ("pets", "PNG, 160 x 160", 2),
    ]
    for one in measured:
        assert list(one["phases"]) == ["before", "overload", "after"]
        for phase in one["phases"].values():
            assert set(phase["statuses"]) <= {"200", "503"}
            assert phase["statuses"]["200"] == pytest.approx(phase["admitted_per_s"] * phase["seconds"])
            assert (phase["no_retry_after"], phase["failed"], phase["unanswered"]) == (0, 0, 0)
            assert 0 < phase["longest_s"] >= phase["longest_refused_s"]
    verdicts = {target["verdict"] for one in measured for target in one["targets"]}
    assert done.returncode == int(verdicts != {"pass"})
    assert "takes one number of --clients" in bench("load", url, "--overload", "--clients", "1,2").stderr


def test_overload_counts_wrong_answers_and_none(serve: Callable[[Flask], Served]) -> None:
    app, number = Flask("sometimes"), count()

    @app.get("/")
    def index() -> Any:
        return {"pipelines": [{"name": "flowers", "ready": True}]}

    @app.get("/flowers")
    def card() -> Any:
        return {"kind": "image"}

    @app.post("/flowers")
    def sometimes() -> Response:
        place = next(number) % 4
        if place == 0:
            return Response("busy", 503)  # without Retry-After
        if place == 1:
            return Response("busy", 503, {"Retry-After": "2"})
        return Response("no", 502) if place == 2 else Response("yes")

    done = bench("load", serve(app).url, "--direct", "--overload", "--clients", "1", "--seconds", "1", "--json")
    (measured,) = json.loads(done.stdout)["overload"]
    phase = measured["phases"]["overload"]
    assert set(phase["statuses"]) == {"200", "502", "503"}
    assert abs(phase["statuses"]["503"] - 2 * phase["no_retry_after"]) <= 20
    wrong = sum(one["statuses"]["502"] + one["no_retry_after"] for one in measured["phases"].values())
    assert [target["figure"] for target in measured["targets"]][-1] == wrong
    assert done.returncode == 1
    table = bench("load", serve(app).url, "--direct", "--overload", "--clients", "1", "--seconds", "1")
    assert "FAIL          flowers, calls answered neither with 200 nor with 503 and Retry-After: " in table.stdout


def test_overload_counts_calls_without_an_answer() -> None:
    """A server that accepts connections, answers one call of each, and then closes or is silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        stop = threading.Event()

        def serve_one(silent: bool) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
                connection.recv(65_536)
                if silent:
                    stop.wait(20)

        threads = [threading.Thread(target=serve_one, args=(silent,)) for silent in (False, True, True)]
        for thread in threads:
            thread.start()
        answers = call(url, b"{}", "application/json", clients=2, seconds=1, last_s=0.5)
        stop.set()
        for thread in threads:
            thread.join()
    assert (answers.statuses, answers.failed, answers.unanswered) == ({200: 3}, 1, 2)
    assert answers.longest_s >= 0.5


def test_another_machine_is_not_called() -> None:
    urls = ("http://10.255.255.1", "https://192.0.2.7", "http://[2001:db8::1]:8080", "http://name.invalid")
    for url, overload in [*((url, []) for url in urls), (urls[0], ["--overload"])]:
        done = bench("load", url, *overload)
        assert (done.returncode, "is not this machine" in done.stderr) == (2, True), done.stderr
    assert is_local("localhost")
    assert is_local("127.0.0.1")
    assert not is_local("192.0.2.7")


def test_without_wrk_it_says_how_to_install_it() -> None:
    for arguments in (("load", "http://127.0.0.1:9"), ("classify",)):
        done = bench(*arguments, path="/nowhere")
        assert (done.returncode, done.stderr) == (2, "! wrk is not installed (Debian: apt install wrk)\n")


def test_quality_reports_the_accuracy_of_the_predictions_that_it_writes(tmp_path: Path) -> None:
    for name, rows, seed in (("train", 500, 1), ("test", 200, 2)):
        write_csv(tmp_path / f"{name}.csv", made_up_rows(rows, seed), COLUMNS)
    given = ["--train", "train.csv", "--test", "test.csv", "--seeds", "1", "--budget", "2", "--json"]
    done = bench("quality", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["covertype"]
    assert list(found) == ["ours", "lightgbm"]
    for model, figures in found.items():
        with (tmp_path / "bench-quality" / f"covertype-{model}-1.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        right = sum(line["label"] == line["answer"] for line in lines)
        assert (len(lines), figures["accuracy"]) == (200, pytest.approx(right / 200, abs=2e-6))


@pytest.mark.usefixtures("wrk")
def test_classify_reports_all_its_figures(bundles: Path, tmp_path: Path) -> None:
    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    for name, source in (("flowers", HERE / "pipelines"), ("pets", SHIPPED)):
        shutil.copytree(bundles / name, tmp_path / "bundles" / name / "serving")
        shutil.copy(source / f"{name}.toml", pipelines)
    given = ["--bundles", tmp_path / "bundles", "--key", KEY, "--pipelines", pipelines]
    done = bench("classify", *given, "--rounds", 1, "--seconds", 1, "--csv", 500, "--json", cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    for kind in ("image", "tabular"):
        assert report["figures"][kind].keys() == WORKERS.keys()
        for figures in report["figures"][kind].values():
            assert figures["calls_per_s"] > 0 <= figures["cpu_ms"]
            assert 0 < figures["p50_ms"] <= figures["p99_ms"]
            assert figures["start_s"] > 0
            assert figures["pss_mb"] > 10
    run = report["run"]
    assert (run["csv"]["rows"], run["csv"]["rows_per_s"] > 0, run["rounds"], run["seconds"]) == (500, True, 1, 1)
    assert {"cores", "cpu", "avx512", "bf16", "others"} <= run.keys()
    assert report["left_out"] == {}
    verdicts = [bar["verdict"] for bar in report["bars"]]
    assert (len(verdicts), verdicts.count("not measured")) == (10, 4)  # no peer was asked for
    assert done.returncode == int("FAIL" in verdicts)
    assert "pictures: p99 / p50: " in done.stdout
