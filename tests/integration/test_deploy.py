"""scripts/deploy in front of real functions; faas-cli is one that keeps what it is told."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, Response

from common.executions import begin
from common.objects import FolderObjects
from conftest import Served, wait_until
from deploying import PASSWORDS, Site
from deployment.images import whole_name
from deployment.secret_values import VARIABLES
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
    assert f"deploy --timeout=10m -f {ROOT}/stack.yml --regex ^(classify)$" in site.words()
    assert "train/" not in done.stdout
    unknown = site.deploy("clasify")
    assert (unknown.returncode, "clasify is not in stack.yml" in unknown.stderr) == (2, True)


def test_only_the_secrets(site: Site) -> None:
    done = site.deploy("--only-secrets")
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in site.words()} == {"list", "secret"}
    assert "The secrets are set" in done.stdout


def test_a_gateway_that_takes_no_call_is_told_with_what_to_do(site: Site) -> None:
    site.state(broken=["list"])
    done = site.deploy("--no-build")
    assert done.returncode == 1
    assert "step 1 of 8 (ask the gateway) failed" in done.stderr
    assert "unauthorized access" in done.stderr
    assert f"faas-cli login --gateway {site.gateway.url}" in done.stderr
    assert "No function was touched" in done.stderr


def test_a_secret_that_the_gateway_refused_stops_the_deployment(site: Site) -> None:
    site.state(refused=["bundle-key"])  # one that is there, so that an old value would go on counting
    done = site.deploy("--no-build")
    assert done.returncode == 1
    assert "(set the secrets) failed: the gateway did not take bundle-key" in done.stderr
    assert "no room" in done.stderr
    assert not [line for line in site.words() if line.startswith("deploy")]


def test_a_failed_deployment_tells_how_to_have_the_old_one_again(site: Site) -> None:
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


def test_a_function_that_does_not_become_ready_is_told_with_its_log(site: Site) -> None:
    site.state()
    other = (ROOT / "stack.yml").read_text().replace("  classify:\n", "  classified:\n")
    (site.folder / "stack.yml").write_text(other.replace("/classify:", "/classified:"))
    done = site.deploy("--no-build", "--keep-secrets", "--wait", "1", "-f", str(site.folder / "stack.yml"))
    assert done.returncode == 1
    assert "classified is not ready after 1 s: 404" in done.stderr
    assert "the function's last words" in done.stderr


def test_an_update_that_was_refused_in_silence_is_noticed(site: Site) -> None:
    site.state(stuck=True, functions={"classify": "127.0.0.1:9/sabueso/classify:v1"})
    done = site.deploy("--no-build", "--keep-secrets", "classify")
    assert done.returncode == 1
    assert "classify runs 127.0.0.1:9/sabueso/classify:v1, not 127.0.0.1:9/sabueso/classify:v2" in done.stderr
    assert f"TAG=v1 scripts/deploy --no-build --keep-secrets --env {site.env} classify" in done.stderr


def test_an_image_that_is_pulled_for_longer_than_the_gateway_waits_is_asked_for_again(site: Site) -> None:
    site.state(slow=True)
    done = site.deploy("--no-build", "--keep-secrets")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "classify: the image is still being pulled; once more" in done.stdout
    first, again = [line for line in site.words() if line.startswith("deploy")]
    assert "--regex" not in first  # and the others are not taken away once more
    assert again.endswith("--regex ^(classify)$")


def test_nothing_is_deployed_while_a_secret_or_an_image_is_missing(
    site: Site, serve: Callable[[Flask], Served]
) -> None:
    site.state(secrets=["bundle-key"])
    done = site.deploy("--no-build", "--keep-secrets", "classify")
    assert done.returncode == 1
    assert "the gateway has no secret classify-mlflow-password: leave --keep-secrets out" in done.stderr
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
    assert f"there is no image {host}/classify:v2: {host} answers 404" in done.stderr
    locked.add("classify")
    assert site.deploy("--no-build", "classify", REGISTRY=host).returncode == 0
    assert len([line for line in site.words() if line.startswith("deploy")]) == 2


def test_the_names_of_docker_hub_are_one() -> None:
    assert whole_name("alice/classify:v1") == whole_name("docker.io/alice/classify:v1") == "docker.io/alice/classify:v1"
    assert whole_name("index.docker.io/alice/classify:v1") == "docker.io/alice/classify:v1"
    assert whole_name("nginx:1.30") == "docker.io/library/nginx:1.30"
    assert whole_name("127.0.0.1:5000/a/b:c") == "127.0.0.1:5000/a/b:c"


def test_a_replica_of_before_is_not_taken_for_the_new_one(site: Site) -> None:
    site.state(stuck=True, functions={"classify": "127.0.0.1:9/sabueso/classify:v2"}, deployments={"classify": "old"})
    done = site.deploy("--no-build", "--keep-secrets", "--wait", "1", "classify")
    assert done.returncode == 1
    assert "classify is not ready after 1 s: old" in done.stderr


def test_an_old_faas_cli_is_told(site: Site) -> None:
    site.program("faas-cli", "echo 'Error: unknown flag: --json'; exit 1")
    done = site.deploy("--no-build")
    assert (done.returncode, "0.18.10 or later is needed" in done.stderr) == (1, True)


def test_a_fetch_that_runs_is_waited_for(site: Site, tmp_path: Path) -> None:
    site.state(functions={"fetch-batch": "x/fetch-batch:v1", "train": "x/train:v1"})
    counts = {"stored": 0, "duplicate": 0, "quarantined": 0, "failed": 0, "batch": None}
    facts = {"status": None, "lease": "n", "message": "", **counts}
    record = begin(FolderObjects(tmp_path / "store"), "covertype", "fetch-batch", facts)
    deployed_while_it_ran: list[bool] = []
    asked = site.asked_for_status

    def end() -> None:
        """When the deployment has seen it run three times."""
        wait_until(lambda: asked() >= 3)
        deployed_while_it_ran.append(any(line.startswith("deploy") for line in site.words()))
        record.end("finished", status="collected")

    thread = threading.Thread(target=end)
    thread.start()
    done = site.deploy("--no-build", "--keep-secrets")
    thread.join()
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
    image = "127.0.0.1:9/sabueso/classify:v2"
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
