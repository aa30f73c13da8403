"""The champion that classify serves: replaced by a good version, kept when the new one is refused or MLflow is down."""

import shutil
import threading

import pytest
from flask import Flask, abort, request

from classify.app import create_app
from classify.champions import Champions
from common.pipeline_files import read_pipeline_heads
from conftest import KEY, wait_until
from serving import ROW, signed_again, start


def test_a_new_champion_serves_after_the_next_poll(serving, second):
    assert serving.predict() == ("small", "1")
    serving.mlflow.register("flowers", "2", second)
    assert serving.predict() == ("small", "1")
    serving.poll()
    assert serving.predict() == ("large", "2")
    assert serving.client.get("/flowers").json["model"]["version"] == "2"


def test_two_bundles_of_a_pipeline_are_kept(serving, second):
    for version in ("2", "3"):
        serving.mlflow.register("flowers", version, second)
        serving.poll()
    folders = {name.split("/")[2] for name in serving.scratch_files() if name.startswith("bundles/flowers/")}
    assert folders == {"2", "3", "kept-version"}


def test_a_bundle_appears_only_when_it_is_complete(serving, second):
    answer, seen = serving.mlflow.app.wsgi_app, []

    def watching(environ, start_response):
        if "m-flowers-2" in environ["PATH_INFO"] + environ["QUERY_STRING"]:
            seen.append([name for name in serving.scratch_files() if name.startswith("bundles/flowers/2")])
        return answer(environ, start_response)

    serving.mlflow.app.wsgi_app = watching
    serving.mlflow.register("flowers", "2", second)
    serving.poll()
    assert len(seen) == 4  # the listing and three files
    assert not any(seen)
    assert serving.predict() == ("large", "2")


def test_moving_the_alias_back_restores_the_earlier_champion(serving, second):
    serving.mlflow.register("flowers", "2", second)
    serving.poll()
    serving.mlflow.aliases["flowers", "champion"] = "1"
    serving.poll()
    assert serving.predict() == ("small", "1")


def test_a_poll_without_news_downloads_nothing(serving):
    serving.mlflow.asked.clear()
    serving.poll()
    assert serving.mlflow.asked == ["GET mlflow/registered-models/alias"] * 2


def test_a_replica_polls_by_itself(make_settings, serve, mlflow, second):
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url, SABUESO_REFRESH_S="0.05")
    champions = Champions(settings, read_pipeline_heads(settings.pipelines))
    client = create_app(settings, champions).test_client()

    def serves(version):
        return client.get("/").json["pipelines"][0]["version"] == version

    wait_until(lambda: serves("1"))
    mlflow.register("flowers", "2", second)
    wait_until(lambda: serves("2"))
    champions.stop()


def test_no_request_fails_while_champions_change(serving, second):
    serving.mlflow.register("flowers", "2", second)
    answers, done = [], threading.Event()

    def ask():
        while not done.is_set():
            answer = serving.client.post("/flowers", json=ROW)
            label = answer.json["predictions"][0]["label"] if answer.status_code == 200 else answer.text
            answers.append((label, answer.json["model"]["version"]))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(6):
        serving.mlflow.aliases["flowers", "champion"] = "12"[number % 2]
        serving.poll()
        before = len(answers)
        wait_until(lambda before=before: len(answers) > before + 2)  # two may have been on their way
    done.set()
    for thread in threads:
        thread.join()
    assert set(answers) <= {("small", "1"), ("large", "2")}
    assert len(set(answers)) == 2


def register_bad_version(serving, second, how, tmp_path):
    """Register a version 2 that must be refused."""
    if how == "another-key":
        second = signed_again(second, tmp_path / "other", key="another key")
    elif how == "golden":
        second = signed_again(second, tmp_path / "other", golden=lambda answers: answers[:, ::-1])
    elif how == "nan":
        second = signed_again(second, tmp_path / "other", golden=lambda answers: answers * float("nan"))
    elif how == "format":
        second = signed_again(second, tmp_path / "other", format=99)
    elif how in ("pipeline", "kind"):  # as when a bundle is registered under another name
        second = signed_again(second, tmp_path / "other", **{how: {"pipeline": "pets", "kind": "image"}[how]})
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


BAD = ["network", "contract", "unsigned", "another-key", "golden", "nan", "format", "empty", "pipeline", "kind"]


@pytest.mark.parametrize("how", BAD)
def test_a_bad_bundle_is_refused_and_the_old_champion_stays(serving, second, tmp_path, how):
    register_bad_version(serving, second, how, tmp_path)
    for _ in range(2):
        serving.poll()
        assert serving.predict() == ("small", "1")
    card = serving.client.get("/flowers").json
    assert (card["model"]["version"], card["stale_since"] is None) == ("1", False)
    assert serving.client.get("/pets").json["stale_since"] is None
    assert not [name for name in serving.scratch_files() if name.startswith("bundles/flowers/2")]


def test_a_bundle_of_another_pipeline_is_refused_by_name_and_kind(serving, tmp_path):
    pets = serving.mlflow.folder("pets", "1")
    serving.mlflow.register("flowers", "2", pets)
    serving.poll()
    assert (
        "was made for pipeline 'pets' of kind image, not for 'flowers' of kind tabular"
        in serving.champions.states["flowers"].why_none
    )
    assert serving.predict() == ("small", "1")


def test_a_refused_bundle_is_not_downloaded_at_every_poll(serving, second, tmp_path):
    register_bad_version(serving, second, "network", tmp_path)
    serving.poll()
    serving.mlflow.asked.clear()
    serving.poll()
    assert not [path for path in serving.mlflow.asked if "artifacts" in path]


@pytest.mark.parametrize("cause", ["key", "listing"])
def test_a_refused_bundle_serves_without_a_restart_once_its_cause_is_fixed(serving, second, clock, caplog, cause):
    serving.champions.clock = clock
    folder = serving.mlflow.register("flowers", "2", second)
    broken = serving.settings.secrets / "bundle-key" if cause == "key" else folder
    away = broken.rename(broken.with_name("away"))
    if cause == "key":
        broken.write_text("another key")
    for _ in range(3):
        serving.poll()
    assert serving.predict() == ("small", "1")
    reasons = [record.facts["why"] for record in caplog.records if record.message == "refresh failed"]
    assert sum("the new champion was refused" in reason for reason in reasons) == 1
    away.rename(broken)
    if cause == "listing":
        clock.now += 20 * serving.settings.refresh_s
    serving.poll()
    assert serving.predict() == ("large", "2")


def test_the_reason_of_a_refusal_is_shown_again_after_another_failure(serving, second, tmp_path):
    register_bad_version(serving, second, "another-key", tmp_path)
    serving.poll()
    secret = serving.settings.secrets / "bundle-key"
    away = secret.rename(secret.with_name("away"))
    serving.poll()
    assert "no readable file" in serving.champions.states["flowers"].why_none
    away.rename(secret)
    serving.poll()
    assert "is not signed with this deployment's bundle-key" in serving.champions.states["flowers"].why_none


def test_a_good_version_after_a_refused_one_serves(serving, second, tmp_path):
    register_bad_version(serving, second, "golden", tmp_path)
    serving.poll()
    serving.mlflow.register("flowers", "3", second)
    serving.poll()
    assert serving.predict() == ("large", "3")
    assert serving.client.get("/flowers").json["stale_since"] is None


def test_an_answer_says_why_the_first_version_was_refused(make_settings, serve, mlflow, second, tmp_path):
    bad = signed_again(second, tmp_path / "bad", key="another key")
    mlflow.register("flowers", "2", bad)
    serving = start(make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url))
    answer = serving.client.post("/flowers", json=ROW)
    assert answer.status_code == 503
    assert "bundle-key" in answer.json["detail"]
    assert KEY not in answer.text


def test_while_mlflow_is_down_the_last_champion_serves_marked_as_stale(serving, second):
    serving.served.stop()
    serving.poll()
    assert serving.predict() == ("small", "1")
    since = serving.client.get("/flowers").json["stale_since"]
    serving.poll()
    assert serving.client.get("/flowers").json["stale_since"] == since is not None


def test_a_restart_with_its_scratch_folder_needs_no_mlflow(serving):
    serving.served.stop()
    again = start(serving.settings)
    assert again.predict() == ("small", "1")
    assert again.client.get("/flowers").json["stale_since"] is not None
    assert [one["ready"] for one in again.client.get("/").json["pipelines"]] == [True, True]


def test_a_restart_downloads_no_kept_bundle(serving):
    serving.mlflow.asked.clear()
    start(serving.settings)
    assert not [path for path in serving.mlflow.asked if "artifacts" in path]


def test_a_new_replica_without_mlflow_answers_no_model(make_settings):
    serving = start(make_settings("flowers"))
    for answer in (serving.client.get("/flowers"), serving.client.post("/flowers", json=ROW)):
        assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:no-model")
        assert "MLflow at http://127.0.0.1:9 can't be used: no connection to it" in answer.json["detail"]
    assert serving.client.get("/readyz").status_code == 200


def test_an_altered_kept_bundle_is_downloaded_again(serving):
    (serving.settings.scratch / "bundles" / "flowers" / "1" / "network.tflite").write_bytes(b"something else")
    again = start(serving.settings)
    assert again.predict() == ("small", "1")


def test_without_mlflow_an_altered_kept_bundle_is_not_served(serving):
    (serving.settings.scratch / "bundles" / "flowers" / "1" / "network.tflite").write_bytes(b"something else")
    serving.served.stop()
    again = start(serving.settings)
    assert again.client.post("/flowers", json=ROW).status_code == 503
    assert again.client.get("/pets").status_code == 200


def test_an_interrupted_download_starts_over(make_settings, serve, mlflow):
    failing = [True]

    @mlflow.app.before_request
    def fail():
        if failing[0] and request.path.endswith("network.tflite"):
            abort(500)

    serving = start(make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url))
    assert serving.client.post("/flowers", json=ROW).status_code == 503
    failing[0] = False
    serving.poll()
    assert serving.predict() == ("small", "1")
    assert not [name for name in serving.scratch_files() if name.startswith("downloads")]


def test_a_pipeline_without_a_model_does_not_affect_the_others(serving):
    del serving.mlflow.aliases["pets", "champion"]
    alone = start(serving.settings.model_copy(update={"scratch": serving.settings.scratch / "new"}))
    assert alone.predict() == ("small", "1")
    answer = alone.client.get("/pets")
    assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:no-model")
    assert "nothing has been promoted yet" in answer.json["detail"]
    assert [one["ready"] for one in alone.client.get("/").json["pipelines"]] == [True, False]


def test_a_removed_alias_leaves_the_last_champion_marked_as_stale(serving):
    del serving.mlflow.aliases["flowers", "champion"]
    serving.poll()
    assert serving.predict() == ("small", "1")
    assert serving.client.get("/flowers").json["stale_since"] is not None


def test_a_replica_is_ready_after_its_first_poll(make_settings, serve):
    slow, resume = Flask(__name__), threading.Event()
    slow.add_url_rule("/<path:path>", view_func=lambda path: resume.wait(15) and abort(404))
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(slow).url)
    champions = Champions(settings, read_pipeline_heads(settings.pipelines))
    client = create_app(settings, champions).test_client()
    champions.stop()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:unavailable")
    assert client.get("/healthz").status_code == 200
    resume.set()
    wait_until(lambda: client.get("/readyz").status_code == 200)
