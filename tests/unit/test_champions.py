"""The champion that serves: taken when it is good, kept when the next is not, kept when all else is down."""

import shutil
import threading
from dataclasses import replace

import pytest
from flask import Flask, abort, request

from classify.app import create_app
from classify.champions import Champions
from classify.looks import Looks
from common.errors import NoModel
from common.pipelines import read_pipelines
from common.registry import Registry
from conftest import KEY, wait_until
from serving import ROW, signed_again, start

# A follower asks no registry: any use of this is an error.
NEVER = object()


@pytest.fixture
def second(bundles, tmp_path):
    """A version whose answers differ: its labels stand in the opposite order."""
    labels = [
        {"value": "large", "en": "Large one", "es": "Grande"},
        {"value": "middle", "en": "Middle one", "es": "Mediana"},
        {"value": "small", "en": "Small one", "es": "Pequeña"},
    ]
    return signed_again(bundles / "flowers", tmp_path / "second", labels=labels)


def test_a_new_champion_takes_over_at_the_next_look(serving, second):
    assert serving.predict() == ("small", "1")
    serving.mlflow.register("flowers", "2", second)
    assert serving.predict() == ("small", "1")
    serving.look()
    assert serving.predict() == ("large", "2")
    assert serving.client.get("/flowers").json["model"]["version"] == "2"
    assert not [name for name in serving.kept() if name.startswith("bundles/flowers/1/")]


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
def test_a_refused_bundle_whose_cause_was_mended_is_taken_without_a_restart(serving, second, clock, capsys, cause):
    serving.champions.clock = clock
    folder = serving.mlflow.register("flowers", "2", second)
    mended = serving.settings.secrets / "bundle-key" if cause == "key" else folder
    away = mended.rename(mended.with_name("away"))
    if cause == "key":
        mended.write_text("another key")
    for _ in range(3):
        serving.look()
    assert serving.predict() == ("small", "1")
    assert capsys.readouterr().err.count("the new champion was refused") == 1
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
    assert not [name for name in serving.kept() if ".part" in name]


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


@pytest.fixture
def second_process(serving):
    """Another process of the same replica, which knows what the first did before they were forked."""
    serving.champions.looks = Looks(2, len(serving.champions.pipelines))
    return Champions(serving.settings, serving.champions.pipelines, registry=NEVER, looks=serving.champions.looks)


def served_by(champions):
    return {name: slot.champion and slot.champion.version for name, slot in champions.slots.items()}


def test_of_several_processes_the_first_looks_and_the_others_follow(serving, second_process, second):
    assert second_process.follow() is False  # nothing was told yet
    serving.look()
    assert second_process.follow() is True
    assert served_by(second_process) == {"flowers": "1", "pets": "1"}
    serving.mlflow.register("flowers", "2", second)
    serving.look()
    second_process.follow()
    assert served_by(second_process) == {"flowers": "2", "pets": "1"}
    assert second_process.follow() is False


def test_what_the_first_process_knows_of_a_missing_or_stale_champion_the_others_tell_too(serving, second_process):
    serving.champions.slots["pets"].champion = None
    del serving.mlflow.aliases["flowers", "champion"], serving.mlflow.aliases["pets", "champion"]
    serving.look()
    second_process.follow()
    with pytest.raises(NoModel, match="nothing has been promoted yet"):
        second_process.get("pets")
    assert second_process.slots["flowers"].stale_since == serving.champions.slots["flowers"].stale_since is not None


def test_a_version_that_a_follower_cannot_load_is_tried_again_after_the_next_look(serving, second_process, second):
    serving.look()
    second_process.follow()
    serving.mlflow.register("flowers", "2", second)
    serving.look()
    key = serving.settings.secrets / "bundle-key"
    away = key.rename(key.with_name("away"))
    second_process.follow()
    assert served_by(second_process)["flowers"] == "1"
    away.rename(key)
    assert second_process.follow() is False
    assert "bundles/flowers/2/contract.json" in serving.kept()  # a follower deletes nothing
    serving.look()
    second_process.follow()
    assert served_by(second_process)["flowers"] == "2"


def test_a_new_champion_is_told_before_the_look_at_the_other_pipelines_has_ended(serving, second_process, second):
    serving.look()
    second_process.follow()
    serving.mlflow.register("flowers", "2", second)
    told = []
    real = serving.champions._refresh

    def refresh(name, slot):
        told.append((name, second_process.follow(), served_by(second_process)["flowers"]))
        real(name, slot)

    serving.champions._refresh = refresh
    serving.look()
    assert told == [("flowers", False, "1"), ("pets", False, "2")]
    assert second_process.follow() is True


def test_a_replica_of_several_processes_is_ready_when_all_know_of_a_look(serving, second_process):
    assert serving.champions.missing() == second_process.missing() == "no look at MLflow has ended"
    second_process.begin(1)
    serving.champions.begin()
    wait_until(lambda: second_process.missing() is None)
    second_process.stop()


def test_what_is_being_told_at_this_moment_is_not_heard_yet():
    looks = Looks(2)
    assert looks.read() is None
    looks.write({"a": 1})
    assert looks.read() == {"a": 1}
    looks._text[:8] = bytes(8)
    assert looks.read() is None
    with pytest.raises(ValueError, match="room"):
        looks.write("x" * 9000)
