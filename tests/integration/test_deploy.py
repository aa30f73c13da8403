"""scripts/deploy and scripts/smoke in front of real functions; faas-cli is one that keeps what it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from classify.app import create_app as create_classify
from common.executions import begin
from common.objects import FolderObjects
from common.settings import Settings
from conftest import Served
from deployment.secret_values import VARIABLES
from fetch_batch.app import create_app as create_fetch_batch
from servers import ROOT
from train.app import create_app as create_train

pytestmark = pytest.mark.integration

PASSWORDS = {variable: f"a-password-for-{name}" for name, (variable, default) in VARIABLES.items() if default is None}
PLACES = (str(ROOT / "scripts"), str(ROOT / "functions"))


class Site:
    """A gateway with the three functions, a faas-cli, and the commands."""

    def __init__(self, folder: Path, gateway: Served, settings: Settings) -> None:
        self.folder, self.gateway, self.settings = folder, gateway, settings
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.program("faas-cli", f'exec "{sys.executable}" "{ROOT}/tests/fake_faas_cli.py" "$@"')
        self.state(functions={}, broken=[], refused=[])

    def program(self, name: str, line: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{line}\n")
        (self.bin / name).chmod(0o755)

    def state(self, **facts: Any) -> None:
        (self.folder / "state.json").write_text(json.dumps({"secrets": [], **facts}))

    def calls(self) -> list[dict[str, Any]]:
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def words(self) -> list[str]:
        return [" ".join(call["words"]) for call in self.calls()]

    def run(self, module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        machine = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join(PLACES),
            "FAKE_FAAS_CLI": str(self.folder),
            "OPENFAAS_URL": self.gateway.url,
            "TAG": "v2",
            "REGISTRY": "registry.example/sabueso",
        }
        command = [sys.executable, "-m", f"deployment.{module}", *arguments]
        return subprocess.run(
            command, env={**machine, **environment}, capture_output=True, text=True, check=False, cwd=self.folder
        )

    def deploy(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = self.run("deploy", *arguments, **{**PASSWORDS, **environment})
        for password in PASSWORDS.values():
            assert password not in done.stdout + done.stderr + " ".join(self.words())
        return done


@pytest.fixture
def site(
    make_settings: Callable[..., Settings], store: FolderObjects, serve: Callable[[Flask], Served], tmp_path: Path
) -> Site:
    settings = make_settings("covertype", "pets")
    apps = {
        "/function/classify": create_classify(make_settings("covertype", "pets", SABUESO_STORE="")),
        "/function/fetch-batch": create_fetch_batch(settings, store),
        "/function/train": create_train(settings, store),
    }
    gateway = Flask("gateway", static_folder=None)

    @gateway.get("/system/functions")
    def listed() -> Response:
        return Response("unauthorized", 401)

    gateway.wsgi_app = DispatcherMiddleware(gateway.wsgi_app, apps)  # type: ignore[method-assign, assignment]
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site", serve(gateway), settings)


@pytest.fixture
def store(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path / "store")


def test_a_deployment_sets_the_secrets_deploys_and_calls_each_function(site: Site) -> None:
    done = site.deploy("--no-build")
    assert done.returncode == 0, done.stdout + done.stderr
    created = {call["words"][-1]: call["given"] for call in site.calls() if call["words"][:2] == ["secret", "create"]}
    assert created == {name: PASSWORDS.get(variable, default) for name, (variable, default) in VARIABLES.items()}
    words = site.words()
    assert [line.split()[0] for line in words if line.split()[0] != "secret"] == ["list", "deploy"]
    deploy = next(call for call in site.calls() if call["words"][0] == "deploy")
    assert deploy["environment"]["TAG"] == "v2"
    assert deploy["environment"]["OPENFAAS_URL"] == site.gateway.url
    for name in ("classify", "fetch-batch", "train"):
        assert f"{name} is ready: registry.example/sabueso/{name}:v2" in done.stdout
    assert "FAIL" not in done.stdout
    assert "train/covertype, no token: 401" in done.stdout


def test_a_dry_run_shows_every_command_and_runs_none(site: Site) -> None:
    done = site.deploy("--dry-run")
    assert done.returncode == 0, done.stderr
    assert site.calls() == []
    for line in (
        'printf %s "$TRAIN_TOKEN" | faas-cli secret create --replace train-token',
        "printf %s fetch-batch | faas-cli secret create --replace fetch-batch-s3-access-key",
        f"faas-cli build -f {ROOT}/stack.yml",
        f"faas-cli push -f {ROOT}/stack.yml",
        f"faas-cli deploy -f {ROOT}/stack.yml",
        f"scripts/smoke --no-model {site.gateway.url}",
    ):
        assert line in done.stdout
    assert "Nothing was run." in done.stdout


def test_every_missing_secret_is_named_before_anything_is_done(site: Site) -> None:
    done = site.run("deploy", "--no-build", TRAIN_TOKEN="t", BUNDLE_KEY="CHANGE-ME")
    assert done.returncode == 2
    for variable in set(PASSWORDS) - {"TRAIN_TOKEN", "BUNDLE_KEY"}:
        assert f"{variable}: missing" in done.stderr
    assert "BUNDLE_KEY: still CHANGE-ME" in done.stderr
    assert site.calls() == []


def test_one_function_gets_its_own_secrets_and_no_others(site: Site) -> None:
    done = site.run("deploy", "--no-build", "classify", BUNDLE_KEY="key", MLFLOW_CLASSIFY_PASSWORD="word")
    assert done.returncode == 0, done.stdout + done.stderr
    created = [call["words"][-1] for call in site.calls() if call["words"][:2] == ["secret", "create"]]
    assert created == ["bundle-key", "classify-mlflow-password"]
    assert f"deploy -f {ROOT}/stack.yml --regex ^(classify)$" in site.words()
    assert "train/" not in done.stdout
    unknown = site.deploy("clasify")
    assert (unknown.returncode, "clasify is not in stack.yml" in unknown.stderr) == (2, True)


def test_a_gateway_that_takes_no_call_is_told_with_what_to_do(site: Site) -> None:
    site.state(functions={}, broken=["list"], refused=[])
    done = site.deploy("--no-build")
    assert done.returncode == 1
    assert "step 1 of 6 (ask the gateway) failed" in done.stderr
    assert "unauthorized access" in done.stderr
    assert f"faas-cli login --gateway {site.gateway.url}" in done.stderr
    assert "No function was touched" in done.stderr


def test_a_secret_that_the_gateway_refused_stops_the_deployment(site: Site) -> None:
    site.state(functions={}, broken=[], refused=["bundle-key"])
    done = site.deploy("--no-build")
    assert done.returncode == 1
    assert "step 2 of 6 (set the secrets) failed: the gateway did not take bundle-key" in done.stderr
    assert not [line for line in site.words() if line.startswith("deploy")]


def test_a_failed_deployment_tells_how_to_have_the_old_one_again(site: Site) -> None:
    before = {name: f"registry.example/sabueso/{name}:v1" for name in ("fetch-batch", "train")}
    site.state(functions={**before, "classify": "other/place:v0"}, broken=["deploy"], refused=[])
    done = site.deploy("--no-build")
    assert done.returncode == 1
    assert "step 4 of 6 (deploy) failed" in done.stderr
    again = "REGISTRY=registry.example/sabueso TAG=v1 scripts/deploy --no-build --keep-secrets"
    assert f"{again} train" in done.stderr and f"{again} fetch-batch" in done.stderr
    assert "classify ran other/place:v0" in done.stderr
    site.state(functions={}, broken=["deploy"], refused=[])
    assert "faas-cli remove -f" in site.deploy("--no-build").stderr


def test_a_function_that_does_not_become_ready_is_told_with_its_log(site: Site) -> None:
    (site.folder / "stack.yml").write_text((ROOT / "stack.yml").read_text().replace("  classify:\n", "  classified:\n"))
    done = site.deploy("--no-build", "--keep-secrets", "--wait", "1", "-f", str(site.folder / "stack.yml"))
    assert done.returncode == 1
    assert "classified is not ready after 1 s: 404" in done.stderr
    assert "the function's last words" in done.stderr


def test_a_fetch_that_runs_is_waited_for(site: Site, store: FolderObjects) -> None:
    site.state(functions={"fetch-batch": "x/fetch-batch:v1", "train": "x/train:v1"}, broken=[], refused=[])
    counts = {"stored": 0, "duplicate": 0, "quarantined": 0, "failed": 0, "batch": None}
    facts = {"status": None, "lease": "n", "message": "", **counts}
    record = begin(store, "covertype", "fetch-batch", facts)
    deployed_while_it_ran: list[bool] = []

    def end() -> None:
        deployed_while_it_ran.append(any(line.startswith("deploy") for line in site.words()))
        record.end("finished", status="collected")

    timer = threading.Timer(4, end)
    timer.start()
    done = site.deploy("--no-build", "--keep-secrets")
    timer.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert deployed_while_it_ran == [False]


def test_images_are_built_and_pushed_with_what_is_there(site: Site) -> None:
    none = site.deploy(PATH=str(site.bin))
    assert none.returncode == 1
    assert "no program here builds images" in none.stderr
    site.program("buildah", f'echo "$@" >> "{site.folder}/buildah.txt"')
    done = site.deploy("classify", PATH=str(site.bin), GIT_COMMIT="abc")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"build --shrinkwrap -f {ROOT}/stack.yml --regex ^(classify)$" in site.words()
    image = "registry.example/sabueso/classify:v2"
    assert (site.folder / "buildah.txt").read_text().splitlines() == [
        f"build --build-arg=FUNCTION=classify --build-arg=GIT_COMMIT=abc --tag {image} build/classify",
        f"push {image}",
    ]
    site.program("docker", "exit 0")
    assert site.deploy("classify").returncode == 0
    assert f"push -f {ROOT}/stack.yml --regex ^(classify)$" in site.words()


def test_images_are_named_by_the_commit_where_no_tag_is_set(site: Site) -> None:
    done = site.deploy("--dry-run", TAG="", GIT_COMMIT="unknown", PATH=os.environ["PATH"])
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert f"tag {commit}" in done.stdout


def test_smoke_fails_where_no_version_serves_or_nobody_answers(site: Site) -> None:
    done = site.run("smoke", site.gateway.url)
    assert done.returncode == 1
    assert "FAIL classify/pets: no version serves yet" in done.stdout
    assert site.run("smoke", "--no-model", site.gateway.url).returncode == 0
    told = site.run("smoke", "--json", "http://127.0.0.1:9")
    found = json.loads(told.stdout)
    assert (told.returncode, found["failed"] > 0) == (1, True)
    assert all(set(one) == {"check", "ok", "told"} for one in found["checks"])
    assert site.run("smoke", "example.org").returncode == 2


def test_smoke_notices_a_train_that_is_open(site: Site, serve: Callable[[Flask], Served]) -> None:
    app = Flask("open")

    @app.route("/function/<path:path>", methods=["GET", "POST"])
    def all_the_same(path: str) -> dict[str, Any]:
        return {"pipelines": [], "state": "idle", "reason": "", "examples": 0, "samples": 0, "lost_answers": 0}

    done = site.run("smoke", serve(app).url)
    assert done.returncode == 1
    assert "FAIL train/covertype, no token: 200 instead of 401" in done.stdout


def test_smoke_sends_a_picture_and_a_row(serving: Any, serve: Callable[[Flask], Served], site: Site) -> None:
    gateway = Flask("gateway", static_folder=None)
    gateway.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign, assignment]
        gateway.wsgi_app,
        {
            "/function/classify": serving.app,
            "/function/fetch-batch": create_fetch_batch(site.settings, FolderObjects(site.folder / "empty")),
            "/function/train": create_train(site.settings, FolderObjects(site.folder / "empty")),
        },
    )
    done = site.run("smoke", serve(gateway).url)
    assert "ok   classify/pets: a picture is" in done.stdout, done.stdout
    assert "ok   classify/flowers: a row is" in done.stdout
    assert "ok   classify/flowers, bad input: 4" in done.stdout
    assert done.returncode == 0, done.stdout
