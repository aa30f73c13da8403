"""infra/containers.yaml against stack.yml: the same functions with and without OpenFaaS."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.test_compose import PLACE, SERVICE_FIELDS, compose_command, limits_missing
from contract.test_stack import FUNCTIONS, WATCHDOG

ROOT = Path(__file__).resolve().parents[2]
PLAIN: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "containers.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = PLAIN["services"]
BASE: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text(encoding="utf-8"))
FIELDS = SERVICE_FIELDS | {"stop_grace_period", "cpus", "user", "init"}
SECRETS = "/var/openfaas/secrets/"


def number(quantity: str) -> float:
    """512Mi, 512m (of bytes, as Compose writes them) or 500m (of a processor) as a number."""
    value, unit = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(quantity)).groups()  # type: ignore[union-attr]
    return float(value) * {"": 1, "Mi": 2**20, "Gi": 2**30, "m": 1e-3}[unit]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_container_is_the_function_of_stack_yml(name: str) -> None:
    function, container = FUNCTIONS[name], SERVICES[name]
    wanted = {key: value for key, value in function["environment"].items() if key not in WATCHDOG}
    given = dict(container["environment"])
    # Differences: the gateway's name, and the scratch folder, which may be a volume.
    assert given.pop("OPENFAAS_URL", None) == ("http://gateway:8080" if "OPENFAAS_URL" in wanted else None)
    wanted.pop("OPENFAAS_URL", None)
    del wanted["SABUESO_DEPLOYMENT"]  # scripts/deploy's own
    assert re.match(r"/(tmp|var/lib)/sabueso\Z", given.pop("SABUESO_SCRATCH"))
    wanted.pop("SABUESO_SCRATCH")
    assert given == wanted
    assert container["image"] == function["image"]
    assert container["build"]["args"] == function["build_args"]
    assert (ROOT / "infra" / container["build"]["context"]).resolve() == (ROOT / function["handler"]).resolve()
    assert {one["target"] for one in container["secrets"]} == {f"{SECRETS}{one}" for one in function["secrets"]}
    memory = container["mem_limit"].replace("m", "Mi").replace("g", "Gi")
    assert number(memory) == number(function["limits"]["memory"])
    assert container["cpus"] == number(function["limits"]["cpu"])


def test_a_secret_comes_from_the_same_variable_as_in_scripts_deploy() -> None:
    from deployment.secret_values import VARIABLES

    sources = {**BASE["secrets"], **PLAIN["secrets"]}
    for service in SERVICES.values():
        for one in service.get("secrets", []):
            name = one["target"].removeprefix(SECRETS)
            assert sources[one["source"]] == {"environment": VARIABLES[name][0]}, name


def test_cron_has_the_schedule_of_stack_yml_and_posts_to_the_gateway() -> None:
    assert FUNCTIONS["fetch-batch"]["annotations"]["schedule"] == "*/5 * * * *"
    line = SERVICES["cron"]["entrypoint"][-1]
    assert "sleep $$((300 - $$(date +%s) % 300))" in line
    assert "-X POST http://gateway:8080/function/fetch-batch;" in line


def test_up_does_not_wait_for_a_container_without_health() -> None:
    # Compose treats a disabled healthcheck as never healthy (docker/compose issue 13522).
    for name, service in SERVICES.items():
        assert "disable" not in service.get("healthcheck", {}), name


def test_only_the_reverse_proxy_is_public_and_no_container_gains_privileges() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"gateway": ["127.0.0.1:${GATEWAY_PORT:-8080}:8080"]}
    assert (
        BASE["services"]["nginx"]["environment"]["PROXY_GATEWAY_URL"] == "${PROXY_GATEWAY_URL:-http://127.0.0.1:8080}"
    )
    for name, service in SERVICES.items():
        assert set(service) <= FIELDS, name
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
        assert not (service.get("read_only") and service.get("secrets")), name
        for key in service.get("environment", {}):
            assert not re.search(r"(PASSWORD|SECRET|KEY|TOKEN)$", key), name


def test_no_container_can_fill_the_memory_or_the_disk() -> None:
    assert {name: limits_missing(service) for name, service in SERVICES.items()} == {name: [] for name in SERVICES}


def test_the_gateway_gets_every_variable_of_its_configuration() -> None:
    template = (ROOT / "infra" / "nginx" / "gateway" / "default.conf.template").read_text(encoding="utf-8")
    given = {name for name in SERVICES["gateway"]["environment"] if name.startswith("GATEWAY_")}
    assert given == {name for name in PLACE.findall(template) if name.startswith("GATEWAY_")}


def test_a_function_can_finish_its_calls_before_it_is_killed() -> None:
    recipe = (ROOT / "functions" / "Dockerfile").read_text(encoding="utf-8")
    waits = sum(int(re.search(rf"{name}=(\d+)s", recipe)[1]) for name in ("healthcheck_interval", "write_timeout"))  # type: ignore[index]
    for name in FUNCTIONS:
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > waits


def test_compose_itself_accepts_both_files(tmp_path: Path) -> None:
    """If Compose is installed; see test_compose.py."""
    command = compose_command()
    if command is None:
        return
    subprocess.run([ROOT / "scripts" / "make-env", tmp_path / "env"], check=True, capture_output=True)
    files = [part for name in ("compose", "containers") for part in ("--file", ROOT / "infra" / f"{name}.yaml")]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    asked = subprocess.run(
        [*command, "--env-file", tmp_path / "env", *files, "config", "--quiet"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
