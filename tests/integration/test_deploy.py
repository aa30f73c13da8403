"""scripts/deploy with real functions and a recording faas-cli."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, Response

from common.storage.executions import begin
from common.storage.folder import FolderStore
from conftest import Served, wait_until
from deploying import PASSWORDS, Site
from deployment.images import full_name
from deployment.secret_values import VARIABLES
from fetch_batch.record import FetchRecord
from servers import ROOT

pytestmark = pytest.mark.integration


def test_a_deployment_sets_the_secrets_deploys_and_calls_each_function(site: Site) -> None:
    done = site.deploy("--no-build")
    assert done.returncode == 0, done.stdout + done.stderr
    created = {call["words"][-1]: call["given"] for call in site.calls() if call["words"][:2] == ["secret", "create"]}
    assert created == {name: PASSWORDS.get(variable, default) for name, (variable, default) in VARIABLES.items()}
    words = site.words()
    assert [line.split()[0] for line in words if line.split()[0] != "secret"] == [
        "list",
        "deploy",
        "list",
        "list",
        "list",
    ]
    deploy = next(call for call in site.calls() if call["words"][0] == "deploy")
    assert deploy["environment"]["TAG"] == "v2"
    assert deploy["environment"]["OPENFAAS_URL"] == site.gateway.url
    for name in ("classify", "fetch-batch", "train"):
        assert f"{name} is ready: 127.0.0.1:9/sabueso/{name}:v2" in done.stdout
    assert "FAIL" not in done.stdout
    assert "train/covertype, no token: 401" in done.stdout
    assert f"faas-cli remove --gateway {site.gateway.url} classify" in done.stdout


def test_a_dry_run_shows_every_command_and_runs_none(site: Site) -> None:
    done = site.deploy("--dry-run")
    assert done.returncode == 0, done.stderr
    assert site.calls() == []
    for line in (
        'printf %s "$TRAIN_TOKEN" | faas-cli secret create --replace train-token',
        "printf %s fetch-batch | faas-cli secret create --replace fetch-batch-s3-access-key",
        f"faas-cli build -f {ROOT}/stack.yml",
        f"faas-cli push -f {ROOT}/stack.yml",
        f"faas-cli deploy --timeout=10m -f {ROOT}/stack.yml",
        f"scripts/smoke --no-model {site.gateway.url}",
    ):
        assert line in done.stdout
    assert "Dry run: nothing was changed." in done.stdout


def test_missing_secrets_are_named_before_anything_is_done(site: Site) -> None:
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
    assert f"deploy --timeout=10m -f {ROOT}/stack.yml --regex ^(classify)$" in site.words()
    assert "train/" not in done.stdout
    unknown = site.deploy("clasify")
    assert (unknown.returncode, "clasify is not in stack.yml" in unknown.stderr) == (2, True)


def test_only_the_secrets(site: Site) -> None:
    done = site.deploy("--only-secrets")
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in site.words()} == {"list", "secret"}
    assert "The secrets are set" in done.stdout


def test_a_gateway_that_refuses_calls_is_reported_with_advice(site: Site) -> None:
    site.state(broken=["list"])
    done = site.deploy("--no-build")
    assert done.returncode == 1
    assert "step 1 of 8 (contact the gateway) failed" in done.stderr
    assert "unauthorized access" in done.stderr
    assert f"faas-cli login --gateway {site.gateway.url}" in done.stderr
    assert "No function was changed" in done.stderr


def test_a_secret_that_the_gateway_refused_stops_the_deployment(site: Site) -> None:
    site.state(refused=["bundle-key"])  # it exists, so the old value would stay in use
    done = site.deploy("--no-build")
    assert done.returncode == 1
    assert "(set the secrets) failed: the gateway refused the secret bundle-key" in done.stderr
    assert "no room" in done.stderr
    assert not [line for line in site.words() if line.startswith("deploy")]


def test_a_failed_deployment_prints_the_rollback(site: Site) -> None:
    before = {name: f"127.0.0.1:9/sabueso/{name}:v1" for name in ("fetch-batch", "train")}
    site.state(functions={**before, "classify": "other/place:v0"}, broken=["deploy"])
    done = site.deploy("--no-build")
    assert done.returncode == 1
    assert "step 6 of 8 (deploy) failed" in done.stderr
    again = f"REGISTRY=127.0.0.1:9/sabueso TAG=v1 scripts/deploy --no-build --keep-secrets --env {site.env}"
    assert f"{again} train" in done.stderr and f"{again} fetch-batch" in done.stderr
    assert "classify ran other/place:v0" in done.stderr
    site.state(broken=["deploy"])
    assert f"faas-cli remove --gateway {site.gateway.url} train" in site.deploy("--no-build").stderr


def test_a_function_that_does_not_become_ready_is_reported_with_its_log(site: Site) -> None:
    site.state()
    other = (ROOT / "stack.yml").read_text().replace("  classify:\n", "  classified:\n")
    (site.folder / "stack.yml").write_text(other.replace("/classify:", "/classified:"))
    done = site.deploy("--no-build", "--keep-secrets", "--wait", "1", "-f", str(site.folder / "stack.yml"))
    assert done.returncode == 1
    assert "classified is not ready after 1 s: 404" in done.stderr
    assert "the function's last words" in done.stderr


def test_a_silently_refused_update_is_noticed(site: Site) -> None:
    site.state(stuck=True, functions={"classify": "127.0.0.1:9/sabueso/classify:v1"})
    done = site.deploy("--no-build", "--keep-secrets", "classify")
    assert done.returncode == 1
    assert "classify runs 127.0.0.1:9/sabueso/classify:v1, not 127.0.0.1:9/sabueso/classify:v2" in done.stderr
    assert f"TAG=v1 scripts/deploy --no-build --keep-secrets --env {site.env} classify" in done.stderr


def test_an_image_that_takes_longer_to_pull_than_the_gateway_waits_is_retried(site: Site) -> None:
    site.state(slow=True)
    done = site.deploy("--no-build", "--keep-secrets")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "classify: still pulling the image; trying again" in done.stdout
    first, again = [line for line in site.words() if line.startswith("deploy")]
    assert "--regex" not in first  # the others are not deployed again
    assert again.endswith("--regex ^(classify)$")


def test_nothing_is_deployed_while_a_secret_or_an_image_is_missing(
    site: Site, serve: Callable[[Flask], Served]
) -> None:
    site.state(secrets=["bundle-key"])
    done = site.deploy("--no-build", "--keep-secrets", "classify")
    assert done.returncode == 1
    assert "the gateway lacks the secret classify-mlflow-password: run again without --keep-secrets" in done.stderr
    registry, there, locked = Flask("registry"), {"classify"}, set[str]()

    @registry.get("/v2/<name>/manifests/v2")
    def manifest(name: str) -> Response:
        return Response(status=401 if name in locked else 200 if name in there else 404)

    host = serve(registry).url.removeprefix("http://")
    site.state()
    assert site.deploy("--no-build", "classify", REGISTRY=host).returncode == 0
    there.clear()
    done = site.deploy("--no-build", "classify", REGISTRY=host)
    assert done.returncode == 1
    assert f"the image {host}/classify:v2 does not exist: {host} answers 404" in done.stderr
    locked.add("classify")
    assert site.deploy("--no-build", "classify", REGISTRY=host).returncode == 0
    assert len([line for line in site.words() if line.startswith("deploy")]) == 2


def test_all_names_of_docker_hub_are_equal() -> None:
    assert full_name("alice/classify:v1") == full_name("docker.io/alice/classify:v1") == "docker.io/alice/classify:v1"
    assert full_name("index.docker.io/alice/classify:v1") == "docker.io/alice/classify:v1"
    assert full_name("nginx:1.30") == "docker.io/library/nginx:1.30"
    assert full_name("127.0.0.1:5000/a/b:c") == "127.0.0.1:5000/a/b:c"


def test_an_old_replica_is_not_mistaken_for_the_new_one(site: Site) -> None:
    site.state(stuck=True, functions={"classify": "127.0.0.1:9/sabueso/classify:v2"}, deployments={"classify": "old"})
    done = site.deploy("--no-build", "--keep-secrets", "--wait", "1", "classify")
    assert done.returncode == 1
    assert "classify is not ready after 1 s: old" in done.stderr


def test_an_old_faas_cli_is_reported(site: Site) -> None:
    site.program("faas-cli", "echo 'Error: unknown flag: --json'; exit 1")
    done = site.deploy("--no-build")
    assert (done.returncode, "0.18.10 or later is needed" in done.stderr) == (1, True)


def test_a_running_fetch_is_waited_for(site: Site, tmp_path: Path) -> None:
    site.state(functions={"fetch-batch": "x/fetch-batch:v1", "train": "x/train:v1"})
    execution = begin(FolderStore(tmp_path / "store"), "covertype", FetchRecord.new(lease="n"))
    deployed_while_it_ran: list[bool] = []
    asked = site.asked_for_status

    def end() -> None:
        """End the fetch once the deployment has polled it three times."""
        wait_until(lambda: asked() >= 3)
        deployed_while_it_ran.append(any(line.startswith("deploy") for line in site.words()))
        execution.end("finished", status="collected")

    thread = threading.Thread(target=end)
    thread.start()
    done = site.deploy("--no-build", "--keep-secrets")
    thread.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert deployed_while_it_ran == [False]


def test_images_are_built_and_pushed_with_the_installed_program(site: Site) -> None:
    none = site.deploy(PATH=str(site.bin))
    assert none.returncode == 1
    assert "no program to build images" in none.stderr
    site.program("buildah", f'echo "$@" >> "{site.folder}/buildah.txt"')
    done = site.deploy("classify", PATH=str(site.bin), GIT_COMMIT="abc")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"build --shrinkwrap -f {ROOT}/stack.yml --regex ^(classify)$" in site.words()
    image = "127.0.0.1:9/sabueso/classify:v2"
    assert (site.folder / "buildah.txt").read_text().splitlines() == [
        f"build --build-arg=FUNCTION=classify --build-arg=GIT_COMMIT=abc --tag {image} build/classify",
        f"push {image}",
    ]
    site.program("docker", "exit 0")
    assert site.deploy("classify").returncode == 0
    assert f"push -f {ROOT}/stack.yml --regex ^(classify)$" in site.words()


def test_images_are_named_by_the_commit_without_a_tag(site: Site) -> None:
    done = site.deploy("--dry-run", TAG="", GIT_COMMIT="unknown", PATH=os.environ["PATH"])
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert f"tag {commit}" in done.stdout
