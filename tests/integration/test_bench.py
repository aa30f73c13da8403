"""scripts/bench in front of real functions: what it tells, its errors, whom it does not call. No speed is asserted."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request

from benchmarks.command import is_own
from benchmarks.gap import longest_silence, runs
from benchmarks.load import percentile
from common.objects import FolderObjects
from conftest import HERE, KEY, SHIPPED, Served
from deploying import PLACES, Site, make_gateway
from flowers import write_csv
from local.made_up_rows import COLUMNS, made_up_rows

pytestmark = [pytest.mark.integration, pytest.mark.full]

TOLD = {"pipeline", "input", "clients", "calls", "seconds", "per_second", "errors", "statuses", "client_cpu_ms"}


def bench(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.command", *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(PLACES)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=cwd)


def test_load_tells_calls_times_and_statuses_of_each_input(
    serving: Any, serve: Callable[[Flask], Served], site: Site, tmp_path: Path
) -> None:
    url = serve(make_gateway(serving.app, site.settings, FolderObjects(tmp_path / "empty"))).url
    done = bench("load", url, "--clients", "1,2", "--seconds", "0.3", "--json")
    assert done.returncode == 0, done.stderr
    measures = json.loads(done.stdout)["measures"]
    pictures = [("pets", f"PNG, {size}", clients) for size in ("160 x 160", "4000 x 3000") for clients in (1, 2)]
    rows = [("flowers", name, clients) for name in ("1 row", "1000 rows") for clients in (1, 2)]
    assert sorted((one["pipeline"], one["input"], one["clients"]) for one in measures) == sorted(rows + pictures)
    for one in measures:
        assert set(one) == TOLD | {"p50_ms", "p95_ms", "p99_ms"}
        assert (one["errors"], one["statuses"]) == (0, {"200": one["calls"]})
        assert one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"]
    done = bench("load", url, "--pipelines", "flowers", "--clients", "3", "--seconds", "5", "--calls", "7", "--json")
    assert [one["calls"] for one in json.loads(done.stdout)["measures"]] == [7, 7]
    assert bench("load", url, "--pipelines", "weeds").returncode == 1


def test_load_counts_answers_that_are_not_200(serving: Any, serve: Callable[[Flask], Served], tmp_path: Path) -> None:
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
    done = bench("load", serve(app).url, "--clients", "2", "--seconds", "0.5", "--picture", str(own), "--json")
    found = {one["input"]: one for one in json.loads(done.stdout)["measures"]}
    rows, picture = found["1 row"], found["own.png"]
    assert set(rows["statuses"]) == {"200", "503"}
    assert rows["errors"] == rows["statuses"]["503"] == rows["calls"] - rows["statuses"]["200"]
    assert (picture["errors"], picture["p50_ms"], picture["per_second"]) == (picture["calls"], None, 0)


def test_a_machine_that_is_not_this_one_is_not_called() -> None:
    for url in ("http://10.255.255.1", "https://192.0.2.7", "http://[2001:db8::1]:8080", "http://name.invalid"):
        for call in (("load", url), ("gap", url, "/", "1")):
            done = bench(*call)
            assert (done.returncode, "is not this machine" in done.stderr) == (2, True), done.stderr
    assert is_own("localhost")
    assert is_own("127.0.0.1")
    assert not is_own("0.0.0.0")


def test_gap_tells_the_runs_of_equal_answers(serve: Callable[[Flask], Served]) -> None:
    app, number = Flask("away"), count()

    @app.get("/there")
    def there() -> Response:
        return Response("", 503 if 3 <= next(number) < 8 else 200)

    done = bench("gap", serve(app).url, "/there", "1.5", "--json")
    told = json.loads(done.stdout)
    assert (told["runs"][0]["answer"], told["runs"][-1]["answer"]) == ("200", "200")
    assert sum(one["calls"] for one in told["runs"] if one["answer"] == "503") == 5
    assert told["longest_silence_s"] > 0
    calls = [(0.0, "200", 0.1), (0.1, "502", 0.1), (0.2, "ConnectionError", 0.1), (0.4, "200", 0.2), (0.5, "500", 0.1)]
    assert ([one["calls"] for one in runs(calls)], longest_silence(calls)) == ([1, 1, 1, 1, 1], 0.3)
    assert longest_silence([(0.0, "500", 0.1), (2.0, "500", 0.1)]) == 2.0


def test_percentiles_are_values_that_were_measured() -> None:
    ordered = [number / 1000 for number in range(1, 101)]
    assert [percentile(ordered, share) for share in (50, 95, 99)] == [50.0, 95.0, 99.0]
    assert (percentile([0.002], 99), percentile([], 50)) == (2.0, None)


def test_quality_tells_the_accuracy_of_the_predictions_beside_it(tmp_path: Path) -> None:
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


def test_classify_tells_all_its_figures(bundles: Path, tmp_path: Path) -> None:
    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    for name, source in (("flowers", HERE / "pipelines"), ("pets", SHIPPED)):
        shutil.copytree(bundles / name, tmp_path / "bundles" / name / "serving")
        shutil.copy(source / f"{name}.toml", pipelines)
    given = ["--bundles", tmp_path / "bundles", "--key", KEY, "--pipelines", pipelines]
    given += ["--rounds", 1, "--seconds", 0.3, "--csv", 500, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.command", "classify", *map(str, given)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(PLACES)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for kind in ("image", "tabular"):
        ours, floor = found[kind]["ours"], found[kind]["floor"]
        assert floor["rps"] > 0 < floor["cpu_ms"]
        assert ours["cold_s"] > 0 and ours["cold_mlflow_s"] > 0 and ours["pss_mb"] > 10
        for clients in (1, 8, 32):
            assert ours[f"rps_c{clients}"] > 0 <= ours[f"cpu_ms_c{clients}"]
            assert 0 < ours[f"p50_ms_c{clients}"] <= ours[f"p99_ms_c{clients}"]
    assert found["image"]["ours"]["peak_12mp_mb"] >= 0
    assert found["image_12mp"]["ours"]["rps_c8"] > 0 < found["image_12mp"]["floor"]["rps"]
    assert (found["bulk"]["rows"], found["bulk"]["rows_per_s"] > 0) == (500, True)
    assert found["left_out"] == {}
    judged = {bar["bar"]: bar["met"] for bar in found["bars"]}
    assert len(judged) == 12
    assert sum(met is None for met in judged.values()) >= 4  # no peer was asked for
    assert "pictures, 8 clients: p99 / p50" in done.stdout
