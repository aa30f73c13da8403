"""scripts/smoke with real functions, and with a faulty gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import pytest
from flask import Flask

from common.storage.folder import FolderStore
from conftest import Served
from deploying import Site, make_gateway
from reverse_proxy import Nginx

pytestmark = [pytest.mark.integration, pytest.mark.full]


def test_smoke_fails_without_a_champion_or_an_answer(site: Site) -> None:
    done = site.run("smoke", site.gateway.url)
    assert done.returncode == 1
    assert "FAIL classify/pets: no champion yet" in done.stdout
    assert site.run("smoke", "--no-model", site.gateway.url).returncode == 0
    done = site.run("smoke", "--json", "http://127.0.0.1:9")
    result = json.loads(done.stdout)
    assert (done.returncode, result["failed"] > 0) == (1, True)
    assert all(set(check) == {"check", "ok", "message"} for check in result["checks"])
    assert site.run("smoke", "example.org").returncode == 2


def test_smoke_notices_a_train_without_token_check(site: Site, serve: Callable[[Flask], Served]) -> None:
    app = Flask("open")

    @app.route("/function/<path:path>", methods=["GET", "POST"])
    def all_the_same(path: str) -> dict[str, Any]:
        return {"pipelines": [], "state": "idle", "reason": "", "examples": 0, "samples": 0, "lost_answers": 0}

    done = site.run("smoke", serve(app).url)
    assert done.returncode == 1
    assert "FAIL train/covertype, no token: 200 instead of 401" in done.stdout


def test_smoke_sends_a_picture_and_a_row(
    serving: Any, serve: Callable[[Flask], Served], site: Site, tmp_path: Path
) -> None:
    gateway = make_gateway(serving.app, site.settings, FolderStore(tmp_path / "empty"))
    done = site.run("smoke", serve(gateway).url)
    assert "ok   classify/pets: a picture is" in done.stdout, done.stdout
    assert "ok   classify/flowers: a row is" in done.stdout
    assert "ok   classify/flowers, bad input: 4" in done.stdout
    assert done.returncode == 0, done.stdout


def test_smoke_accepts_a_self_signed_certificate_only_with_insecure(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Nginx(tmp_path_factory.mktemp("proxy"), site.gateway.url) as proxy:
        # REQUESTS_CA_BUNDLE of the shell must not override --insecure.
        shell = {"REQUESTS_CA_BUNDLE": certifi.where()}
        done = site.run("smoke", "--insecure", "--no-model", proxy.url, **shell)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ok   site: the page is served" in done.stdout
        assert "ok   the gateway's own calls: /system/functions: 404" in done.stdout
        refused = site.run("smoke", "--no-model", proxy.url, **shell)
        assert (refused.returncode, "SSLError" in refused.stdout) == (1, True)
