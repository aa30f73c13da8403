"""The file of a backbone's weights: from where it may come, that it is checked, and what is said if it can't be had."""

import hashlib
import os
import subprocess
import sys

import pytest
from flask import Flask, Response, request

from common.errors import TrainingFailed, Unavailable
from common.pipelines import Weights
from train.fit.weights import clear_parts, fetch_weights
from train.patience import Patience

BODY = b"the weights" * 1000
SUM = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def settings(make_settings):
    return make_settings("pets")


class Host:
    """Gives the file, or the statuses that a test sets, one for each request."""

    def __init__(self, serve):
        self.asked, self.statuses = [], []
        app = Flask("weights")

        @app.get("/<name>")
        def give(name: str) -> Response:
            self.asked.append(name)
            return Response(BODY, status=self.statuses.pop(0) if self.statuses else 200)

        @app.get("/cut")
        def cut() -> Response:
            self.asked.append(request.path)
            return Response(iter([BODY[:100]]), headers={"Content-Length": str(len(BODY))})

        self.served = serve(app)
        self.url = self.served.url


@pytest.fixture
def host(serve):
    return Host(serve)


def test_a_file_of_this_machine_is_taken_over(settings, tmp_path):
    (tmp_path / "file.h5").write_bytes(BODY)
    found = fetch_weights(Weights(str(tmp_path / "file.h5"), SUM), settings)
    assert found.read_bytes() == BODY
    assert found.is_relative_to(settings.scratch)


def test_a_url_is_fetched_once(settings, host):
    weights = Weights(f"{host.url}/file.h5", SUM)
    assert fetch_weights(weights, settings).read_bytes() == BODY
    assert fetch_weights(weights, settings).read_bytes() == BODY
    assert host.asked == ["file.h5"]


def test_a_kept_file_that_was_altered_is_fetched_again(settings, host):
    weights = Weights(f"{host.url}/file.h5", SUM)
    fetch_weights(weights, settings).write_bytes(BODY[:-1])
    assert fetch_weights(weights, settings).read_bytes() == BODY
    assert len(host.asked) == 2


def test_another_file_than_the_one_named_is_refused_and_not_kept(settings, tmp_path):
    (tmp_path / "file.h5").write_bytes(BODY + b"!")
    with pytest.raises(TrainingFailed) as caught:
        fetch_weights(Weights(str(tmp_path / "file.h5"), SUM), settings)
    assert SUM in caught.value.detail
    assert hashlib.sha256(BODY + b"!").hexdigest() in caught.value.detail
    assert list((settings.scratch / "weights").iterdir()) == []


@pytest.mark.parametrize("path", ["/nowhere/file.h5", "/"])
def test_a_path_without_a_file_fails_and_is_named(settings, path):
    with pytest.raises(TrainingFailed, match=f"no weights to be read at {path}"):
        fetch_weights(Weights(path, SUM), settings)


def test_a_host_that_has_no_such_file_fails(settings, host):
    host.statuses = [404]
    with pytest.raises(TrainingFailed, match="answered 404"):
        fetch_weights(Weights(f"{host.url}/file.h5", SUM), settings)


def test_a_host_that_is_away_is_asked_again(settings, host):
    host.statuses = [503, 429]
    told = []
    found = Patience(60, told.append)(lambda: fetch_weights(Weights(f"{host.url}/file.h5", SUM), settings))
    assert found.read_bytes() == BODY
    assert [bool(one and "answered" in one) for one in told] == [True, True, False]


@pytest.mark.parametrize("stopped", [True, False])
def test_no_host_and_an_answer_that_is_cut_are_faults_that_pass(settings, host, stopped):
    if stopped:
        host.served.stop()
    with pytest.raises(Unavailable, match="can't be fetched now"):
        fetch_weights(Weights(f"{host.url}/cut", SUM), settings)
    assert list((settings.scratch / "weights").iterdir()) == []


def test_what_may_be_secret_in_a_url_is_not_told(settings, host):
    host.statuses = [403]
    url = host.url.replace("://", "://ana:hidden@") + "/file.h5?signature=hidden"
    with pytest.raises(TrainingFailed) as caught:
        fetch_weights(Weights(url, SUM), settings)
    assert f"{host.url}/file.h5 answered 403" in caught.value.detail
    assert "hidden" not in caught.value.detail


def test_a_store_with_no_key_behind_its_name_fails(settings):
    with pytest.raises(TrainingFailed, match="there are no weights s3://bucket"):
        fetch_weights(Weights("s3://bucket", SUM), settings)


def test_half_a_file_of_a_process_that_was_killed_is_taken_away_and_no_other(settings, tmp_path):
    (tmp_path / "file.h5").write_bytes(BODY)
    kept = fetch_weights(Weights(str(tmp_path / "file.h5"), SUM), settings)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, being_fetched = (kept.with_name(f".{SUM}.{owner}") for owner in (dead.pid, os.getpid()))
    left.write_bytes(b"half")
    being_fetched.write_bytes(b"half")
    clear_parts(settings)
    assert set(kept.parent.iterdir()) == {kept, being_fetched}
