"""The compose file and .env.example against Compose, stack.yml and the documents.

MinIO falls back to a default password, so a misspelt name must fail here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from contract.pages import read_page
from deployment.secret_values import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text(encoding="utf-8"))
# Secrets that compose does not need, and those that only the functions need.
MAY_BE_EMPTY = {"MLFLOW_BACKEND_STORE_URI", "MLFLOW_S3_ACCESS_KEY"}
FUNCTION_SECRETS = {"TRAIN_TOKEN": "train-token", "BUNDLE_KEY": "bundle-key"}
PLACE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)")
# Keys of compose.yaml that are used here, out of the Compose specification.
COMPOSE_FIELDS = {"name", "services", "secrets", "volumes", "networks"}
SERVICE_FIELDS = {
    *("image", "build", "pull_policy", "restart", "command", "entrypoint", "environment", "secrets", "ports"),
    *("volumes", "tmpfs", "network_mode", "depends_on", "healthcheck", "read_only", "cap_drop", "cap_add"),
    *("security_opt", "logging", "mem_limit"),
}


def _example_variables() -> list[str]:
    text = (ROOT / "infra" / ".env.example").read_text(encoding="utf-8")
    return re.findall(r"^([A-Z][A-Z0-9_]*)=", text, re.MULTILINE)


def test_env_example_lists_each_variable_of_compose_and_stack_once_and_no_other() -> None:
    found = _example_variables()
    assert len(found) == len(set(found))
    named = set()
    for file in ("stack.yml", "infra/compose.yaml", "infra/containers.yaml"):
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        named |= set(PLACE.findall("\n".join(line for line in lines if not line.lstrip().startswith("#"))))
    plain = yaml.safe_load((ROOT / "infra" / "containers.yaml").read_text(encoding="utf-8"))
    named |= {secret["environment"] for secret in (*COMPOSE["secrets"].values(), *plain["secrets"].values())}
    assert set(found) == named - {"SABUESO_DEPLOYMENT"}  # set by scripts/deploy


def test_env_example_has_no_usable_password_and_compose_requires_each() -> None:
    text = (ROOT / "infra" / ".env.example").read_text(encoding="utf-8")
    secret = {one["environment"] for one in COMPOSE["secrets"].values()} - MAY_BE_EMPTY
    assert set(re.findall(r"^([A-Z_0-9]+)=CHANGE-ME$", text, re.MULTILINE)) == secret | set(FUNCTION_SECRETS)
    assert all(f"\n{name}=\n" in text for name in MAY_BE_EMPTY)
    needs = "\n".join(COMPOSE["x-needs"])
    assert all(f"${{{name}:?" in needs for name in secret)


def test_compose_publishes_only_on_loopback_and_checks_the_health_of_each_server() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        # Only the reverse proxy is on the host's network.
        assert (service.get("network_mode") == "host") is (name == "nginx"), name
        check = service["healthcheck"]
        if service["restart"] == "no":
            assert check == {"disable": True}, name
            continue
        assert service["restart"] == "unless-stopped", name
        assert set(check) == {"test", "interval", "timeout", "retries", "start_period"}, name
        assert check["test"][0] == "CMD", name


def test_every_key_is_one_that_compose_reads() -> None:
    assert {key for key in COMPOSE if not key.startswith("x-")} <= COMPOSE_FIELDS
    for name, service in COMPOSE["services"].items():
        assert set(service) <= SERVICE_FIELDS, name
        for other, how in service.get("depends_on", {}).items():
            ends = COMPOSE["services"][other]["restart"] == "no"
            assert how == {"condition": "service_completed_successfully" if ends else "service_healthy"}, name


def limits_missing(service: dict[str, Any]) -> list[str]:
    """What a service of a compose file may use without limit: memory, space for its log, a tmpfs."""
    options = service.get("logging", {}).get("options", {})
    bounded = {
        "memory": re.fullmatch(r"\d+[mg]", str(service.get("mem_limit"))),
        "log": re.fullmatch(r"\d+m", str(options.get("max-size"))) and str(options.get("max-file")).isdigit(),
        **{folder: re.fullmatch(r"/[^:]+:size=\d+[mg]", folder) for folder in service.get("tmpfs", [])},
    }
    return [name for name, bound in bounded.items() if not bound]


def test_no_container_can_fill_the_memory_or_the_disk() -> None:
    assert {name: limits_missing(service) for name, service in COMPOSE["services"].items()} == {
        name: [] for name in COMPOSE["services"]
    }


def compose_command() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        there = shutil.which(command[0])
        if there and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    return None


def test_compose_itself_accepts_the_file(tmp_path: Path) -> None:
    """Runs `docker compose config` (or docker-compose) with the file of make-env, if one is installed.

    It needs no Docker server. Without Compose the test passes: the keys are also checked above.
    """
    command = compose_command()
    if command is None:
        return
    subprocess.run([ROOT / "scripts" / "make-env", tmp_path / "env"], check=True, capture_output=True)
    file = ROOT / "infra" / "compose.yaml"
    arguments = ["--env-file", tmp_path / "env", "--file", file, "config", "--quiet"]
    # Variables of this machine would override the file.
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    asked = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr


def test_the_reverse_proxy_s_health_check_uses_its_address() -> None:
    url = COMPOSE["services"]["nginx"]["healthcheck"]["test"][-1]
    assert url == "https://${PROXY_ADDRESS:-0.0.0.0}:${PROXY_HTTPS_PORT:-443}/"


def test_mounted_files_exist_and_each_secret_is_used() -> None:
    used = set()
    for name, service in COMPOSE["services"].items():
        used |= set(service.get("secrets", []))
        for volume in service.get("volumes", []):
            source, target, *mode = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")
            if source.startswith("."):
                assert (ROOT / "infra" / source).exists() and mode == ["ro"], (name, volume)
            else:
                assert source in COMPOSE["volumes"] and target.startswith("/"), (name, volume)
        if "build" in service:
            assert (ROOT / "infra" / service["build"] / "Dockerfile").is_file(), name
    assert used == set(COMPOSE["secrets"])
    assert all(set(secret) == {"environment"} for secret in COMPOSE["secrets"].values())


def test_every_image_has_a_version_or_is_built_here() -> None:
    built = {service["image"] for service in COMPOSE["services"].values() if "build" in service}
    for name, service in COMPOSE["services"].items():
        image, _, tag = service["image"].partition(":")
        assert tag == "local" if service["image"] in built else re.match(r"\d+\.\d+", tag), name
        assert "/" in image or service["image"] not in built, name


def test_no_container_can_gain_privileges_and_none_with_secrets_has_a_read_only_root() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert name == "mysql" or service["cap_drop"] == ["ALL"], name
        # Compose copies secrets from the environment into the container, which fails on a read-only root.
        assert not (service.get("read_only") and service.get("secrets")), name
        # `docker inspect` shows passwords in `environment`.
        assert not [
            key for key in service.get("environment", {}) if re.search(r"(PASSWORD|SECRET|KEY|STORE_URI)$", key)
        ], name


def test_only_minio_and_accounts_hold_minio_s_root_key() -> None:
    holders = {name for name, one in COMPOSE["services"].items() if "minio_root_password" in one.get("secrets", [])}
    assert holders == {"minio", "accounts"}


def test_the_reverse_proxy_gets_every_variable_of_its_configuration() -> None:
    given = COMPOSE["services"]["nginx"]["environment"]
    read = set()
    for file in ("templates/default.conf.template", "certificate.sh"):
        lines = (ROOT / "infra" / "nginx" / file).read_text(encoding="utf-8").splitlines()
        code = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        read |= set(re.findall(r"\$\{?(PROXY_[A-Z_]+)", code))
    assert {name for name in given if name.startswith("PROXY_")} == read
    assert all(re.match(given["NGINX_ENVSUBST_FILTER"], name) for name in read)


def test_make_env_fills_each_secret_with_its_own_random_value(tmp_path: Path) -> None:
    target = tmp_path / ".env"
    made = subprocess.run([ROOT / "scripts" / "make-env", target], capture_output=True, text=True, check=False)
    assert made.returncode == 0 and target.stat().st_mode & 0o777 == 0o600
    text = target.read_text(encoding="utf-8")
    values = dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))
    filled = {one["environment"] for one in COMPOSE["secrets"].values()} - MAY_BE_EMPTY | set(FUNCTION_SECRETS)
    secret = [values[name] for name in filled]
    assert len(set(secret)) == len(secret) and all(re.fullmatch(r"[0-9a-f]{48}", one) for one in secret)
    assert not [one for one in secret if one in made.stdout + made.stderr]
    again = subprocess.run([ROOT / "scripts" / "make-env", target], capture_output=True, text=True, check=False)
    assert again.returncode == 1 and target.read_text(encoding="utf-8") == text


def test_the_documents_list_every_variable_and_every_secret() -> None:
    text = read_page("settings.md") + read_page("secrets-and-accounts.md")
    assert not [name for name in _example_variables() if f"`{name}`" not in text]
    stack = yaml.safe_load((ROOT / "stack.yml").read_text(encoding="utf-8"))
    for function in stack["functions"].values():
        for name in function["secrets"]:
            assert f"`{name}`" in text, name


def test_scripts_deploy_has_a_variable_for_every_secret() -> None:
    stack = yaml.safe_load((ROOT / "stack.yml").read_text(encoding="utf-8"))
    assert set(VARIABLES) == {name for function in stack["functions"].values() for name in function["secrets"]}
    example = (ROOT / "infra" / ".env.example").read_text(encoding="utf-8")
    for name, (variable, default) in VARIABLES.items():
        assert f"\n{variable}={default or 'CHANGE-ME'}\n" in example, name
        assert (default is not None) == name.endswith("-access-key"), name
    assert {VARIABLES[name][0] for name in FUNCTION_SECRETS.values()} == set(FUNCTION_SECRETS)


def test_mlflow_and_accounts_get_the_address_of_another_s3_server() -> None:
    folder = ROOT / "infra" / "mlflow"
    reads = {
        "mlflow": (folder / "start").read_text(encoding="utf-8"),
        "accounts": (folder / "make_accounts.py").read_text(encoding="utf-8"),
    }
    for name, code in reads.items():
        given = COMPOSE["services"][name]["environment"]
        assert given["AWS_ENDPOINT_URL_S3"] == "${AWS_ENDPOINT_URL_S3:-http://minio:9000}", name
        assert given["AWS_DEFAULT_REGION"] == "${AWS_DEFAULT_REGION:-us-east-1}" and "AWS_DEFAULT_REGION" in code, name
        for variable, default in {"MLFLOW_BUCKET_URL": "s3://mlflow", "S3_KEYS_BY_HAND": ""}.items():
            wanted = f"${{{variable}:-{default}}}" if variable in code else None
            assert given.get(variable) == wanted, (name, variable)
