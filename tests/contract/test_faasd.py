"""infra/openfaas/faasd: its changes to faasd's compose file, and how functions on faasd reach our servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.test_compose import COMPOSE, compose_command

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "openfaas" / "faasd"
# The shape of faasd's file: comments at the margin, ports at the end of a service, lists of NAME=value.
FAASD = """version: "3.7"
services:

  nats:
    image: docker.io/library/nats-streaming:0.25.6
# nobody
    user: "65534"
    # ports:
    #    - "127.0.0.1:8222:8222"

  gateway:
    image: ghcr.io/openfaas/gateway:0.27.5
    environment:
      - upstream_timeout=65s
      - scale_from_zero=true
    depends_on:
      - nats
    ports:
       - "8080:8080"

  queue-worker:
    image: ghcr.io/openfaas/queue-worker:0.14.1
    environment:
      - ack_wait=5m5s
    depends_on:
      - nats
"""


def configure(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "configure"), *arguments, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "docker-compose.yaml"
    found.write_text(FAASD)
    return found


def services(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text())["services"])


def test_the_gateway_listens_on_loopback_and_the_cron_connector_is_added(file: Path) -> None:
    before = services(file)
    done = configure(file)
    assert done.returncode == 0, done.stderr
    after = services(file)
    connector = after.pop("cron-connector")
    assert after["gateway"].pop("ports") == ["127.0.0.1:8080:8080"]
    del before["gateway"]["ports"]
    assert after == before
    assert {"gateway_url=http://gateway:8080", "basic_auth=true"} <= set(connector["environment"])
    assert all(one["type"] == "bind" and one["source"].startswith("./secrets/") for one in connector["volumes"])
    assert (file.parent / "docker-compose.yaml.before-sabueso").read_text() == FAASD
    assert "systemctl restart faasd" in done.stdout


def test_a_second_run_changes_nothing_and_check_changes_nothing_at_all(file: Path) -> None:
    assert configure(file, "--check").returncode == 1
    assert file.read_text() == FAASD
    configure(file)
    once = file.read_text()
    again = configure(file)
    assert (again.returncode, file.read_text()) == (0, once)
    assert configure(file, "--check").returncode == 0


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("scale_from_zero=false", "scale_from_zero=true"),
        ("ack_wait=30s", "ack_wait=125s"),
        ('"0.0.0.0:8080:8080"', '"127.0.0.1:8080:8080"'),
    ],
)
def test_values_that_lose_or_repeat_calls_are_corrected(file: Path, wrong: str, right: str) -> None:
    name = wrong.partition("=")[0] if "=" in wrong else '"8080:8080"'
    pattern = re.compile(rf"{name}=\S+" if "=" in wrong else re.escape(name))
    file.write_text(pattern.sub(wrong, FAASD))
    assert configure(file).returncode == 0
    assert right in file.read_text() and wrong not in file.read_text()


@pytest.mark.parametrize("missing", ["  gateway:\n", "upstream_timeout=65s", '"8080:8080"', "  queue-worker:\n"])
def test_a_file_of_an_unexpected_form_is_not_changed(file: Path, missing: str) -> None:
    file.write_text(FAASD.replace(missing, "  other:\n" if missing.endswith("\n") else "x"))
    text = file.read_text()
    done = configure(file)
    assert (done.returncode, file.read_text()) == (2, text)
    assert "It was not changed" in done.stderr
    file.write_text(FAASD + "volumes: {}\n")
    assert "add the service cron-connector by hand" in configure(file).stderr


def test_only_functions_on_faasd_reach_minio_and_mlflow() -> None:
    overlay = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    assert set(overlay) == {"minio", "mlflow", "accounts"}
    for name in ("minio", "mlflow"):
        (own,) = [port for port in COMPOSE["services"][name]["ports"] if port.endswith((":9000", ":5000"))]
        assert overlay[name]["ports"] == [own.replace("127.0.0.1:", "10.62.0.1:")]
    for name in ("mlflow", "accounts"):
        assert overlay[name]["environment"]["AWS_ENDPOINT_URL_S3"] == "http://minio:9000"
    known = COMPOSE["services"]["mlflow"]["environment"]["MLFLOW_ALLOWED_HOSTS"]
    assert overlay["mlflow"]["environment"]["MLFLOW_ALLOWED_HOSTS"] == f"{known},faasd-provider:*"


def test_compose_itself_accepts_both_files(tmp_path: Path) -> None:
    """If Compose is installed; see test_compose.py."""
    command = compose_command()
    if command is None:
        return
    subprocess.run([ROOT / "scripts" / "make-env", tmp_path / "env"], check=True, capture_output=True)
    files = ["--file", ROOT / "infra" / "compose.yaml", "--file", FOLDER / "compose.yaml"]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    asked = subprocess.run(
        [*command, "--env-file", tmp_path / "env", *files, "config"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    ports = yaml.safe_load(asked.stdout)["services"]["minio"]["ports"]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1", "10.62.0.1"}
