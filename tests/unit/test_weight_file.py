"""Weights files come from a path, URL or store, are verified by sha256, and fail with a clear reason."""

import hashlib
import os
import subprocess
import sys

import pytest
from flask import Flask, Response, request

from common.errors import Unavailable
from common.pipelines import Weights
from train.errors import TrainingFailed
from train.fit.weight_file import fetch_weights, remove_partial_downloads
from train.retry import RetryPolicy

BODY = b"the weights" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def settings(make_settings):
    return make_settings("pets")


def weights_at(path):
    return Weights(path=str(path), sha256=SHA256)


class Host:
    """Serves the file, or the statuses that a test sets, one per request."""

    def __init__(self, serve):
        self.requests, self.statuses = [], []
        app = Flask("weights")

        @app.get("/<name>")
        def whole(name: str) -> Response:
            self.requests.append(name)
            return Response(BODY, status=self.statuses.pop(0) if self.statuses else 200)

        @app.get("/truncated")
        def truncated() -> Response:
            self.requests.append(request.path)
            return Response(iter([BODY[:100]]), headers={"Content-Length": str(len(BODY))})

        self.served = serve(app)
        self.url = self.served.url


@pytest.fixture
def host(serve):
    return Host(serve)


def test_a_local_file_is_copied_to_the_scratch_folder(settings, tmp_path):
    (tmp_path / "file.h5").write_bytes(BODY)
    file = fetch_weights(weights_at(tmp_path / "file.h5"), settings)
    assert file.read_bytes() == BODY
    assert file.is_relative_to(settings.scratch)


def test_a_url_is_downloaded_once(settings, host):
    weights = weights_at(f"{host.url}/file.h5")
    assert fetch_weights(weights, settings).read_bytes() == BODY
    assert fetch_weights(weights, settings).read_bytes() == BODY
    assert host.requests == ["file.h5"]


def test_an_altered_local_copy_is_downloaded_again(settings, host):
    weights = weights_at(f"{host.url}/file.h5")
    fetch_weights(weights, settings).write_bytes(BODY[:-1])
    assert fetch_weights(weights, settings).read_bytes() == BODY
    assert len(host.requests) == 2


def test_a_file_with_another_sha256_is_refused_and_not_stored(settings, tmp_path):
    (tmp_path / "file.h5").write_bytes(BODY + b"!")
    with pytest.raises(TrainingFailed) as caught:
        fetch_weights(weights_at(tmp_path / "file.h5"), settings)
    assert SHA256 in caught.value.detail
    assert hashlib.sha256(BODY + b"!").hexdigest() in caught.value.detail
    assert list((settings.scratch / "weights").iterdir()) == []


@pytest.mark.parametrize("path", ["/nowhere/file.h5", "/"])
def test_a_missing_file_fails_with_its_path(settings, path):
    with pytest.raises(TrainingFailed, match=f"can't read the weights at {path}"):
        fetch_weights(weights_at(path), settings)


def test_a_404_fails(settings, host):
    host.statuses = [404]
    with pytest.raises(TrainingFailed, match="answered 404"):
        fetch_weights(weights_at(f"{host.url}/file.h5"), settings)


def test_temporary_errors_are_retried(settings, host):
    host.statuses = [503, 429]
    reasons = []
    retry = RetryPolicy(60, reasons.append)
    file = retry(lambda: fetch_weights(weights_at(f"{host.url}/file.h5"), settings))
    assert file.read_bytes() == BODY
    assert [bool(reason and "answered" in reason) for reason in reasons] == [True, True, False]


@pytest.mark.parametrize("stopped", [True, False])
def test_an_unreachable_host_and_a_truncated_download_are_temporary_errors(settings, host, stopped):
    if stopped:
        host.served.stop()
    with pytest.raises(Unavailable, match="can't download the weights now"):
        fetch_weights(weights_at(f"{host.url}/truncated"), settings)
    assert list((settings.scratch / "weights").iterdir()) == []


def test_credentials_in_a_url_are_not_shown(settings, host):
    host.statuses = [403]
    url = host.url.replace("://", "://ana:hidden@") + "/file.h5?signature=hidden"
    with pytest.raises(TrainingFailed) as caught:
        fetch_weights(weights_at(url), settings)
    assert f"{host.url}/file.h5 answered 403" in caught.value.detail
    assert "hidden" not in caught.value.detail


def test_an_s3_path_without_a_key_fails(settings):
    with pytest.raises(TrainingFailed, match="there are no weights at s3://bucket"):
        fetch_weights(weights_at("s3://bucket"), settings)


def test_only_partial_downloads_of_dead_processes_are_removed(settings, tmp_path):
    (tmp_path / "file.h5").write_bytes(BODY)
    complete = fetch_weights(weights_at(tmp_path / "file.h5"), settings)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    orphan, in_progress = (complete.with_name(f".{SHA256}.{owner}") for owner in (dead.pid, os.getpid()))
    orphan.write_bytes(b"half")
    in_progress.write_bytes(b"half")
    remove_partial_downloads(settings)
    assert set(complete.parent.iterdir()) == {complete, in_progress}
