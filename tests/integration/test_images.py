"""The three images: the steps of functions/Dockerfile are executed, and the functions are started and called."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import yaml
from flask import Flask

import dockerfile
from conftest import Served
from fake_mlflow import FakeMlflow
from ports import free_port
from servers import ROOT, Server, answers
from serving import ROW

pytestmark = [pytest.mark.integration, pytest.mark.full, pytest.mark.timeout(1200)]

FOLDERS = {"fetch-batch": "fetch_batch", "train": "train", "classify": "classify"}
WATCHDOG_METRICS = 8081  # not settable; an OpenFaaS on this machine may listen there


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The build context of each function: made by faas-cli, or without it a copy of the folder."""
    home = tmp_path_factory.mktemp("contexts")
    for name in ("functions", "template"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "stack.yml", home)
    stack = yaml.safe_load((home / "stack.yml").read_text())
    if shutil.which("faas-cli") is None:
        return {name: home / function["handler"] for name, function in stack["functions"].items()}
    done = subprocess.run(
        ["faas-cli", "build", "--shrinkwrap", "-f", "stack.yml"], cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name: path for path in (home / "build").iterdir()}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with pip, like that of the base image; the tests' own has none."""
    folder = tmp_path_factory.mktemp("python")
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", str(folder)], check=True, capture_output=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def image(
    contexts: dict[str, Path], python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], dockerfile.Stage]]:
    """image("train"): the file system of that image, built once, and deleted after these tests: it takes gigabytes."""
    built: dict[str, dockerfile.Stage] = {}

    def build(name: str) -> dockerfile.Stage:
        if name not in built:
            arguments = {"FUNCTION": name, "GIT_COMMIT": "abc123"}
            built[name] = dockerfile.build(contexts[name], tmp_path_factory.mktemp(name), arguments, python)
        return built[name]

    yield build
    for stage in built.values():
        shutil.rmtree(stage.root)


def port_is_taken(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


class Container(Server):
    """The process of an image; the gateway would call `url`."""

    def __init__(self, stage: dockerfile.Stage, home: Path, environment: dict[str, str]) -> None:
        inner, outer = free_port(), free_port()
        ports = {"PORT": str(inner), "port": str(outer), "upstream_url": f"http://127.0.0.1:{inner}"}
        watchdog = None if port_is_taken(WATCHDOG_METRICS) else shutil.which("of-watchdog")
        command, environment, folder = dockerfile.process(stage, {**environment, **ports, "HOME": str(home)}, watchdog)
        self.watchdog = watchdog is not None
        self.url = f"http://127.0.0.1:{outer if self.watchdog else inner}"
        super().__init__("container", command, environment, home)
        self.folder = folder

    def start(self, wait: bool = True) -> Server:
        self.command = ["/bin/sh", "-c", f'cd "{self.folder}" && exec "$@"', "sh", *self.command]
        return super().start(wait)

    def ready(self) -> bool:
        return answers(f"{self.url}/readyz")


def environment_of(name: str, home: Path, secrets: Path) -> dict[str, str]:
    return {
        "SABUESO_STORE": "" if name == "classify" else f"file://{home}/store",
        "SABUESO_SECRETS": str(secrets),
        "SABUESO_SCRATCH": str(home / "scratch"),
        "SABUESO_LINGER_S": "0",
        "TMPDIR": str(home),
    }


def test_each_function_has_a_build_context_with_the_dockerfile(contexts: dict[str, Path]) -> None:
    assert set(contexts) == set(FOLDERS)
    for name, context in contexts.items():
        assert (context / "Dockerfile").is_file(), name
        assert (context / "requirements" / f"{FOLDERS[name]}.txt").is_file(), name


@pytest.mark.parametrize("name", FOLDERS)
def test_an_image_holds_only_its_function_compiled(image: Callable[[str], dockerfile.Stage], name: str) -> None:
    home = image(name).path("/home/app")
    assert {path.name for path in home.iterdir()} - {"__pycache__"} == {
        "server.py",
        "common",
        "pipelines",
        "schemas",
        FOLDERS[name],
    }
    sources = list(home.rglob("*.py"))
    compiled = {path.name.split(".")[0] for path in home.rglob("__pycache__/*.pyc")}
    assert sources and {path.stem for path in sources} <= compiled


@pytest.mark.parametrize("name", FOLDERS)
def test_a_function_imports_only_locked_packages(
    image: Callable[[str], dockerfile.Stage], name: str, tmp_path: Path
) -> None:
    stage = image(name)
    modules = [
        ".".join(path.relative_to(stage.path("/home/app")).with_suffix("").parts)
        for path in stage.path("/home/app").rglob("*.py")
        if path.stem != "__init__" and not (name == "classify" and path.parts[-2:] == ("storage", "s3.py"))
    ]
    assert len(modules) > 20
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = subprocess.run(
        [stage.path("/venv/bin/python"), "-W", "error::ImportWarning", "-c", code, *modules],
        cwd=stage.path("/home/app"),
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", FOLDERS)
def test_a_function_started_like_its_image_answers(
    image: Callable[[str], dockerfile.Stage], name: str, tmp_path: Path, secrets: Path
) -> None:
    with Container(image(name), tmp_path, environment_of(name, tmp_path, secrets)) as container:
        described = requests.get(f"{container.url}/openapi.json", timeout=30).json()
        assert described["info"]["title"]
        assert requests.get(f"{container.url}/metrics", timeout=30).status_code == 200
        answer = requests.get(f"{container.url}/covertype", timeout=30)
        assert answer.status_code == (503 if name == "classify" else 200), answer.text
        if container.watchdog:
            assert requests.get(f"{container.url}/_/ready", timeout=30).status_code == 200
    assert container.process is None or container.process.poll() is not None


def test_classify_is_small_and_answers_with_a_real_bundle(
    image: Callable[[str], dockerfile.Stage],
    serve: Callable[[Flask], Served],
    bundles: Path,
    tmp_path: Path,
    secrets: Path,
) -> None:
    stage = image("classify")
    (packages,) = stage.path("/venv/lib").glob("python3.*/site-packages")
    size = sum(path.lstat().st_size for path in packages.rglob("*") if path.is_file())
    assert size < 150e6, f"{size / 1e6:.0f} MB"
    names = {re.split(r"[-.]", path.name)[0].lower() for path in packages.iterdir()}
    assert not names & {"tensorflow", "keras", "mlflow", "pandas", "boto3", "botocore", "matplotlib"}

    fake = FakeMlflow(tmp_path / "mlflow")
    fake.register("flowers", "1", bundles / "flowers")
    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    shutil.copy2(ROOT / "tests" / "pipelines" / "flowers.toml", pipelines)
    environment = environment_of("classify", tmp_path, secrets)
    environment |= {"MLFLOW_TRACKING_URI": serve(fake.app).url, "SABUESO_PIPELINES": str(pipelines)}
    with Container(stage, tmp_path, environment) as container:
        answer = requests.post(f"{container.url}/flowers", json=ROW, timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == {"name": "flowers", "version": "1"}
