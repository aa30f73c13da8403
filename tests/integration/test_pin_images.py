"""scripts/pin-images against a registry on this machine, with copies of the repository's files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from flask import Flask, Response, request

from conftest import Served
from deployment.pin_images import FILES, places
from dockerfile import instructions
from servers import ROOT

pytestmark = pytest.mark.integration
PUBLISHED = {"mysql:8.4", "nginx:1.30-trixie", "python:3.13-slim-bookworm", "golang:1.26-bookworm"}
PUBLISHED |= {"debian:bookworm-slim", "openfaas/of-watchdog:0.11.6"}


class Registry:
    """Gives digests only for a token, and a token only for the scope that it asked for, like Docker Hub."""

    def __init__(self, serve: Callable[[Flask], Served]) -> None:
        self.digests = {image: f"sha256:{number:064x}" for number, image in enumerate(sorted(PUBLISHED), 1)}
        app = Flask("registry")

        @app.get("/token")
        def token() -> dict[str, str]:
            return {"token": f"for {request.args['scope']}"}

        @app.route("/v2/<path:name>/manifests/<tag>", methods=["HEAD"])
        def manifest(name: str, tag: str) -> Response:
            scope = f"repository:{name}:pull"
            if request.headers.get("Authorization") != f"Bearer for {scope}":
                challenge = f'Bearer realm="{self.served.url}/token",service="here",scope="{scope}"'
                return Response(status=401, headers={"WWW-Authenticate": challenge})
            if f"{name}:{tag}" not in self.digests:
                return Response(status=404)
            assert "application/vnd.oci.image.index.v1+json" in request.headers["Accept"]  # of all platforms
            return Response(headers={"Docker-Content-Digest": self.digests[f"{name}:{tag}"]})

        self.served = serve(app)
        self.host = self.served.url.removeprefix("http://")


@pytest.fixture
def registry(serve: Callable[[Flask], Served]) -> Registry:
    return Registry(serve)


@pytest.fixture
def files(registry: Registry, tmp_path: Path) -> list[Path]:
    """The repository's files, with the images of this registry."""
    copies = []
    for file in FILES:
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
        text = re.sub(r"@sha256:[0-9a-f]{64}", "", copy.read_text())
        text = text.replace("ghcr.io/openfaas/", f"{registry.host}/openfaas/")
        text = re.sub(r"((?:image: |FROM ))(?=(mysql|nginx|python|golang|debian):)", rf"\g<1>{registry.host}/", text)
        copy.write_text(text)
        copies.append(copy)
    return copies


def pin(files: list[Path], *options: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT / 'functions'}"}
    command = [sys.executable, "-m", "deployment.pin_images", *options, *map(str, files)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_image_that_others_publish_gets_the_digest_of_its_tag(files: list[Path], registry: Registry) -> None:
    before = {file: file.read_text() for file in files}
    assert pin(files, "--check").returncode == 1
    assert {file: file.read_text() for file in files} == before
    done = pin(files)
    assert done.returncode == 0, done.stderr
    found = {}
    for file in files:
        text = file.read_text()
        for place in places(file, text):
            assert place.digest == registry.digests[place.image.removeprefix(f"{registry.host}/")]
            found[place.image.removeprefix(f"{registry.host}/")] = place.digest
        assert re.sub(r"@sha256:[0-9a-f]{64}", "", text) == before[file]  # nothing else changed
    assert found == registry.digests
    assert "All 6 images are pinned" in pin(files, "--check").stdout
    again = {file: file.read_text() for file in files}
    assert pin(files).returncode == 0 and {file: file.read_text() for file in files} == again


def test_compose_and_docker_read_what_was_written(files: list[Path], registry: Registry) -> None:
    assert pin(files).returncode == 0
    by_name = {file.relative_to(file.parents[1]).as_posix(): file for file in files}
    compose = yaml.safe_load(next(file for name, file in by_name.items() if name.endswith("/compose.yaml")).read_text())
    assert compose["services"]["mysql"]["image"] == f"{registry.host}/mysql:8.4@{registry.digests['mysql:8.4']}"
    assert compose["services"]["mlflow"]["image"] == "sabueso/mlflow:local"
    steps = instructions(by_name["functions/Dockerfile"].read_text())
    arguments = dict(rest.split("=", 1) for name, rest in steps if name == "ARG" and "=" in rest)
    bases = [re.sub(r"\$\{(\w+)\}", lambda one: arguments[one[1]], rest) for name, rest in steps if name == "FROM"]
    python = f"{registry.host}/python:3.13-slim-bookworm@{registry.digests['python:3.13-slim-bookworm']}"
    assert bases[1:] == [f"{python} AS build", python]


def test_a_tag_that_moved_is_named_and_pinned_again(files: list[Path], registry: Registry) -> None:
    assert pin(files).returncode == 0
    old, new = registry.digests["mysql:8.4"], f"sha256:{'f' * 64}"
    registry.digests["mysql:8.4"] = new
    stale = pin(files, "--check")
    assert stale.returncode == 1 and stale.stdout.count(f"pinned to {old}, but its tag now means {new}") == 2
    assert pin(files).returncode == 0 and pin(files, "--check").returncode == 0
    assert not [file for file in files if old in file.read_text()]


@pytest.mark.parametrize(
    ("digest", "message"), [(None, "answers 404"), ("", "sends no digest"), ("sha256:1", "sends no digest")]
)
def test_without_every_digest_no_file_is_changed(
    files: list[Path], registry: Registry, digest: str | None, message: str
) -> None:
    before = {file: file.read_text() for file in files}
    if digest is None:
        del registry.digests["nginx:1.30-trixie"]
    else:
        registry.digests["nginx:1.30-trixie"] = digest
    failed = pin(files)
    assert failed.returncode == 2 and "No file was changed" in failed.stderr
    assert f"nginx:1.30-trixie: {registry.host} {message}" in failed.stderr and failed.stderr.count("!") == 1
    assert {file: file.read_text() for file in files} == before


def test_a_registry_that_is_down_is_named(files: list[Path], registry: Registry) -> None:
    registry.served.stop()
    failed = pin(files)
    assert failed.returncode == 2 and f"no connection to {registry.host}" in failed.stderr


def test_every_file_that_names_such_an_image_is_read() -> None:
    recipes = [
        *ROOT.glob("*.yml"),
        *(file for end in ("*.yaml", "Dockerfile") for file in ROOT.glob(f"[!.]*/**/{end}")),
    ]
    naming = {file for file in recipes if "tests" not in file.parts and places(file, file.read_text())}
    assert naming and naming <= set(FILES)
