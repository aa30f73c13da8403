"""The champion that serves: taken when it is good, kept when the next is not, kept when all else is down."""

import shutil
import threading
from dataclasses import replace

import pytest
from flask import Flask, abort, request

from classify.app import create_app
from classify.champions import Champions
from common.pipelines import read_pipelines
from common.registry import Registry
from conftest import KEY, wait_until
from serving import ROW, signed_again, start


def test_a_new_champion_takes_over_at_the_next_look(serving, second):
    assert serving.predict() == ("small", "1")
    serving.mlflow.register("flowers", "2", second)
    assert serving.predict() == ("small", "1")
    serving.look()
    assert serving.predict() == ("large", "2")
    assert serving.client.get("/flowers").json["model"]["version"] == "2"


def test_two_bundles_of_a_pipeline_stay_in_the_folder(serving, second):
    for version in ("2", "3"):
        serving.mlflow.register("flowers", version, second)
        serving.look()
    folders = {name.split("/")[2] for name in serving.kept() if name.startswith("bundles/flowers/")}
    assert folders == {"2", "3", "kept-version"}


def test_a_bundle_is_not_in_its_place_before_all_of_it_has_come(serving, second):
    answer, seen = serving.mlflow.app.wsgi_app, []

    def watched(environ, start_response):
        if "m-flowers-2" in environ["PATH_INFO"] + environ["QUERY_STRING"]:
            seen.append([name for name in serving.kept() if name.startswith("bundles/flowers/2")])
        return answer(environ, start_response)

    serving.mlflow.app.wsgi_app = watched
    serving.mlflow.register("flowers", "2", second)
    serving.look()
    assert len(seen) == 4  # the list, its three files
    assert not any(seen)
    assert serving.predict() == ("large", "2")


def test_moving_the_alias_back_moves_the_champion_back(serving, second):
    serving.mlflow.register("flowers", "2", second)
    serving.look()
    serving.mlflow.aliases["flowers", "champion"] = "1"
    serving.look()
    assert serving.predict() == ("small", "1")


def test_a_look_without_news_fetches_nothing(serving):
    serving.mlflow.asked.clear()
    serving.look()
    assert serving.mlflow.asked == ["GET mlflow/registered-models/alias"] * 2


def test_the_replica_looks_by_itself(make_settings, serve, mlflow, second):
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url, SABUESO_REFRESH_S="0.05")
    champions = Champions(settings, read_pipelines(settings.pipelines), Registry(settings))
    client = create_app(settings, champions).test_client()

    def serves(version):
        return client.get("/").json["pipelines"][0]["version"] == version

    wait_until(lambda: serves("1"))
    mlflow.register("flowers", "2", second)
    wait_until(lambda: serves("2"))
    champions.stop()


def test_no_request_fails_while_champions_change(serving, second):
    serving.mlflow.register("flowers", "2", second)
    answers, over = [], threading.Event()

    def ask():
        while not over.is_set():
            answer = serving.client.post("/flowers", json=ROW)
            label = answer.json["predictions"][0]["label"] if answer.status_code == 200 else answer.text
            answers.append((label, answer.json["model"]["version"]))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(6):
        serving.mlflow.aliases["flowers", "champion"] = "12"[number % 2]
        serving.look()
        told = len(answers)
        wait_until(lambda told=told: len(answers) > told + 2)  # two may have been on their way
    over.set()
    for thread in threads:
        thread.join()
    assert set(answers) <= {("small", "1"), ("large", "2")}
    assert len(set(answers)) == 2


def spoil(serving, second, how, tmp_path):
    """Register version 2 so that it must be refused."""
    if how == "another-key":
        second = signed_again(second, tmp_path / "other", key="another key")
    elif how == "golden":
        second = signed_again(second, tmp_path / "other", golden=lambda wanted: wanted[:, ::-1])
    elif how == "nan":
        second = signed_again(second, tmp_path / "other", golden=lambda wanted: wanted * float("nan"))
    elif how == "format":
        second = signed_again(second, tmp_path / "other", format=99)
    folder = serving.mlflow.register("flowers", "2", second)
    if how == "network":
        body = (folder / "network.tflite").read_bytes()
        (folder / "network.tflite").write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    elif how == "contract":
        text = (folder / "contract.json").read_text()
        (folder / "contract.json").write_text(text.replace('"sure": 0.8', '"sure": 0.1'))
    elif how == "unsigned":
        (folder / "contract.json").unlink()
    elif how == "empty":
        shutil.rmtree(folder)


@pytest.mark.parametrize("how", ["network", "contract", "unsigned", "another-key", "golden", "nan", "format", "empty"])
def test_a_bundle_that_fails_is_refused_and_the_old_one_stays(serving, second, tmp_path, how):
    spoil(serving, second, how, tmp_path)
    for _ in range(2):
        serving.look()
        assert serving.predict() == ("small", "1")
    card = serving.client.get("/flowers").json
    assert (card["model"]["version"], card["stale_since"] is None) == ("1", False)
    assert serving.client.get("/pets").json["stale_since"] is None
    assert not [name for name in serving.kept() if name.startswith("bundles/flowers/2")]


def test_a_refused_bundle_is_not_fetched_at_every_look(serving, second, tmp_path):
    spoil(serving, second, "network", tmp_path)
    serving.look()
    serving.mlflow.asked.clear()
    serving.look()
    assert not [path for path in serving.mlflow.asked if "artifacts" in path]


@pytest.mark.parametrize("cause", ["key", "listing"])
def test_a_refused_bundle_whose_cause_was_mended_is_taken_without_a_restart(serving, second, clock, caplog, cause):
    serving.champions.clock = clock
    folder = serving.mlflow.register("flowers", "2", second)
    mended = serving.settings.secrets / "bundle-key" if cause == "key" else folder
    away = mended.rename(mended.with_name("away"))
    if cause == "key":
        mended.write_text("another key")
    for _ in range(3):
        serving.look()
    assert serving.predict() == ("small", "1")
    told = [one.facts["why"] for one in caplog.records if one.message == "refresh failed"]
    assert sum("the new champion was refused" in why for why in told) == 1
    away.rename(mended)
    if cause == "listing":
        clock.now += 20 * serving.settings.refresh_s
    serving.look()
    assert serving.predict() == ("large", "2")


def test_while_a_version_is_refused_its_reason_comes_back_after_another_trouble(serving, second, tmp_path):
    spoil(serving, second, "another-key", tmp_path)
    serving.look()
    secret = serving.settings.secrets / "bundle-key"
    away = secret.rename(secret.with_name("away"))
    serving.look()
    assert "no readable file" in serving.champions.slots["flowers"].why_none
    away.rename(secret)
    serving.look()
    assert "is not signed with this deployment's bundle-key" in serving.champions.slots["flowers"].why_none


def test_after_a_refused_version_the_next_good_one_is_taken(serving, second, tmp_path):
    spoil(serving, second, "golden", tmp_path)
    serving.look()
    serving.mlflow.register("flowers", "3", second)
    serving.look()
    assert serving.predict() == ("large", "3")
    assert serving.client.get("/flowers").json["stale_since"] is None


def test_a_refused_first_version_is_told(make_settings, serve, mlflow, second, tmp_path):
    bad = signed_again(second, tmp_path / "bad", key="another key")
    mlflow.register("flowers", "2", bad)
    serving = start(make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url))
    answer = serving.client.post("/flowers", json=ROW)
    assert answer.status_code == 503
    assert "bundle-key" in answer.json["detail"]
    assert KEY not in answer.text


def test_while_mlflow_is_down_the_last_champion_goes_on_and_says_that_it_may_be_stale(serving, second):
    serving.served.stop()
    serving.look()
    assert serving.predict() == ("small", "1")
    since = serving.client.get("/flowers").json["stale_since"]
    serving.look()
    assert serving.client.get("/flowers").json["stale_since"] == since is not None


def test_a_restart_that_kept_its_scratch_folder_needs_no_mlflow(serving):
    serving.served.stop()
    again = start(serving.settings)
    assert again.predict() == ("small", "1")
    assert again.client.get("/flowers").json["stale_since"] is not None
    assert [one["ready"] for one in again.client.get("/").json["pipelines"]] == [True, True]


def test_a_restart_fetches_nothing_that_it_has(serving):
    serving.mlflow.asked.clear()
    start(serving.settings)
    assert not [path for path in serving.mlflow.asked if "artifacts" in path]


def test_a_new_replica_without_mlflow_says_so(make_settings):
    serving = start(make_settings("flowers"))
    for answer in (serving.client.get("/flowers"), serving.client.post("/flowers", json=ROW)):
        assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:no-model")
        assert "MLflow at http://127.0.0.1:9 can't be used: no connection to it" in answer.json["detail"]
    assert serving.client.get("/readyz").status_code == 200


def test_a_kept_bundle_that_was_altered_is_not_served_but_fetched_again(serving):
    (serving.settings.scratch / "bundles" / "flowers" / "1" / "network.tflite").write_bytes(b"something else")
    again = start(serving.settings)
    assert again.predict() == ("small", "1")


def test_without_mlflow_an_altered_kept_bundle_is_not_served(serving):
    (serving.settings.scratch / "bundles" / "flowers" / "1" / "network.tflite").write_bytes(b"something else")
    serving.served.stop()
    again = start(serving.settings)
    assert again.client.post("/flowers", json=ROW).status_code == 503
    assert again.client.get("/pets").status_code == 200


def test_a_download_that_broke_off_is_begun_anew(make_settings, serve, mlflow):
    broken = [True]

    @mlflow.app.before_request
    def break_off():
        if broken[0] and request.path.endswith("network.tflite"):
            abort(500)

    serving = start(make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url))
    assert serving.client.post("/flowers", json=ROW).status_code == 503
    broken[0] = False
    serving.look()
    assert serving.predict() == ("small", "1")
    assert not [name for name in serving.kept() if name.startswith("parts")]


def test_a_missing_model_is_the_matter_of_its_pipeline_alone(serving):
    del serving.mlflow.aliases["pets", "champion"]
    alone = start(replace(serving.settings, scratch=serving.settings.scratch / "new"))
    assert alone.predict() == ("small", "1")
    answer = alone.client.get("/pets")
    assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:no-model")
    assert "nothing has been promoted yet" in answer.json["detail"]
    assert [one["ready"] for one in alone.client.get("/").json["pipelines"]] == [True, False]


def test_an_alias_that_was_taken_away_leaves_the_last_champion_and_says_so(serving):
    del serving.mlflow.aliases["flowers", "champion"]
    serving.look()
    assert serving.predict() == ("small", "1")
    assert serving.client.get("/flowers").json["stale_since"] is not None


def test_a_replica_is_ready_when_its_first_look_has_ended(make_settings, serve):
    slow, go_on = Flask(__name__), threading.Event()
    slow.add_url_rule("/<path:path>", view_func=lambda path: go_on.wait(15) and abort(404))
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(slow).url)
    champions = Champions(settings, read_pipelines(settings.pipelines), Registry(settings))
    client = create_app(settings, champions).test_client()
    champions.stop()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:unavailable")
    assert client.get("/healthz").status_code == 200
    go_on.set()
    wait_until(lambda: client.get("/readyz").status_code == 200)
