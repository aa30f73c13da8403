"""stack.yml and the images against faas-cli, the watchdog and the code.

faas-cli ignores unknown keys, so a misspelt one must fail here.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.settings import variables
from generation.settings_table import MODELS

ROOT = Path(__file__).resolve().parents[2]
STACK: dict[str, Any] = yaml.safe_load((ROOT / "stack.yml").read_text(encoding="utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text(encoding="utf-8"))
FUNCTIONS: dict[str, dict[str, Any]] = STACK["functions"]
PLACE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)")

# Fields of a stack file: stack/schema.go of faas-cli 0.18 (github.com/openfaas/go-sdk).
STACK_FIELDS = {"version", "provider", "functions", "configuration"}
PROVIDER_FIELDS = {"name", "gateway"}
FUNCTION_FIELDS = {
    *("lang", "handler", "image", "fprocess", "environment", "secrets", "skip_build", "constraints"),
    *("environment_file", "labels", "limits", "requests", "readonly_root_filesystem", "build_options"),
    *("annotations", "namespace", "build_args", "platforms", "build_secrets"),
}
# Variables of of-watchdog 0.11 (config/config.go); its durations need a unit.
WATCHDOG_DURATIONS = {"exec_timeout", "read_timeout", "write_timeout", "healthcheck_interval"}
WATCHDOG = WATCHDOG_DURATIONS | {
    *("mode", "fprocess", "upstream_url", "http_upstream_url", "http_buffer_req_body", "port", "ready_path"),
    *("prefix_logs", "log_buffer_size", "log_callid", "suppress_lock"),
}
# Of the C library (gnu.org/software/libc, Memory Allocation Tunables), which ignores unknown values.
LIBRARY = {"GLIBC_TUNABLES"}
# The secrets of each function; classify never has a key of the store or the token.
SECRETS = {
    "fetch-batch": {"train-token", "fetch-batch-s3-access-key", "fetch-batch-s3-secret-key"},
    "train": {"train-token", "bundle-key", "train-mlflow-password", "train-s3-access-key", "train-s3-secret-key"},
    "classify": {"bundle-key", "classify-mlflow-password"},
}
FOLDERS = {"fetch-batch": "fetch_batch", "train": "train", "classify": "classify"}


def _pipeline_variables() -> set[str]:
    files = (ROOT / "functions" / "pipelines").glob("*.toml")
    return {name for file in files for name in PLACE.findall(file.read_text(encoding="utf-8"))}


def test_the_three_functions_are_there_each_with_its_folder_and_requirements() -> None:
    assert set(FUNCTIONS) == set(FOLDERS)
    for folder in FOLDERS.values():
        assert (ROOT / "functions" / folder / "app.py").is_file()
        assert (ROOT / "functions" / "requirements" / f"{folder}.txt").is_file()


def test_every_key_is_one_that_faas_cli_reads() -> None:
    assert set(STACK) <= STACK_FIELDS
    assert set(STACK["provider"]) <= PROVIDER_FIELDS
    for name, function in FUNCTIONS.items():
        assert set(function) <= FUNCTION_FIELDS, name
        for part in ("limits", "requests"):
            assert set(function[part]) == {"cpu", "memory"}, name


@pytest.mark.parametrize("name", FOLDERS)
def test_a_function_is_built_by_the_one_dockerfile_from_the_one_context(name: str) -> None:
    function = FUNCTIONS[name]
    assert (function["lang"], function["handler"]) == ("dockerfile", "./functions")
    assert function["build_args"]["FUNCTION"] == function["environment"]["FUNCTION"] == name
    assert f"/{name}:" in function["image"]
    recipe = (ROOT / "functions" / "Dockerfile").read_text(encoding="utf-8")
    assert set(function["build_args"]) <= set(re.findall(r"^ARG ([A-Z_]+)", recipe, re.MULTILINE))


@pytest.mark.parametrize("name", FOLDERS)
def test_maps_of_text_hold_text(name: str) -> None:
    # Unquoted, YAML reads 1 and true as number and boolean, which faas-cli refuses.
    for part in ("environment", "annotations", "labels", "build_args"):
        wrong = {key: value for key, value in FUNCTIONS[name][part].items() if not isinstance(value, str)}
        assert not wrong, part


def test_an_asterisk_for_every_origin_can_be_deployed() -> None:
    # faas-cli replaces ${...} in the text before it reads YAML, where a bare * begins an alias.
    text = (ROOT / "stack.yml").read_text(encoding="utf-8").replace("${SABUESO_CORS_ORIGINS:-}", "*")
    for function in yaml.safe_load(text)["functions"].values():
        assert function["environment"]["SABUESO_CORS_ORIGINS"] == "*"


@pytest.mark.parametrize("name", FOLDERS)
def test_every_variable_is_one_that_is_read(name: str) -> None:
    known = variables(MODELS[name]).keys() | WATCHDOG | LIBRARY
    if name == "fetch-batch":  # only it resolves pipeline files
        known |= _pipeline_variables()
    assert set(FUNCTIONS[name]["environment"]) <= known


def test_fetch_batch_gets_every_variable_of_the_pipeline_files() -> None:
    assert _pipeline_variables() <= set(FUNCTIONS["fetch-batch"]["environment"])


@pytest.mark.parametrize("name", FOLDERS)
def test_the_watchdog_can_read_its_durations(name: str) -> None:
    environment = FUNCTIONS[name]["environment"]
    for key in WATCHDOG_DURATIONS:
        assert re.fullmatch(r"\d+(ms|s|m)", environment[key]), key


@pytest.mark.parametrize("name", FOLDERS)
def test_a_function_has_only_its_own_secrets(name: str) -> None:
    assert set(FUNCTIONS[name]["secrets"]) == SECRETS[name]


def test_train_is_not_limited_by_the_watchdog() -> None:
    # max_inflight would answer 429 to GET and to readiness too; the lease is the limit.
    for function in FUNCTIONS.values():
        assert "max_inflight" not in function["environment"]


@pytest.mark.parametrize("name", FOLDERS)
def test_prometheus_and_the_platform_have_the_right_paths(name: str) -> None:
    annotations = FUNCTIONS[name]["annotations"]
    assert annotations["prometheus.io.scrape"] == "true"
    assert (annotations["prometheus.io.path"], annotations["prometheus.io.port"]) == ("/metrics", "8080")
    # The watchdog's paths fail as soon as a replica must end; the function's own do not.
    assert annotations["com.openfaas.health.http.path"] == "/_/health"
    assert annotations["com.openfaas.ready.http.path"] == "/_/ready"


def test_a_function_lingers_while_the_watchdog_still_sends_calls() -> None:
    recipe = (ROOT / "functions" / "Dockerfile").read_text(encoding="utf-8")
    linger = re.search(r"SABUESO_LINGER_S=(\d+)", recipe)
    assert linger
    intervals = [function["environment"]["healthcheck_interval"] for function in FUNCTIONS.values()]
    intervals += re.findall(r"healthcheck_interval=(\S+)", recipe)
    assert all(float(interval.removesuffix("s")) < float(linger[1]) for interval in intervals)


def test_the_root_is_read_only_and_scratch_is_in_tmp() -> None:
    for name, function in FUNCTIONS.items():
        assert function["readonly_root_filesystem"] is True, name
        assert function["environment"]["SABUESO_SCRATCH"].startswith("/tmp/"), name  # noqa: S108


def test_only_fetch_batch_has_a_schedule() -> None:
    assert FUNCTIONS["fetch-batch"]["annotations"]["topic"] == "cron-function"
    assert len(FUNCTIONS["fetch-batch"]["annotations"]["schedule"].split()) == 5
    assert all("topic" not in FUNCTIONS[name]["annotations"] for name in ("train", "classify"))


def test_images_install_the_locked_versions() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    versions = {(package["name"], package.get("version")) for package in locked}
    files = [*(ROOT / "functions" / "requirements").glob("*.txt"), ROOT / "infra" / "mlflow" / "requirements.txt"]
    assert len(files) == 4
    for file in files:
        text = file.read_text(encoding="utf-8")
        listed = re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE)
        assert listed and set(listed) <= versions, file.name
        assert text.count("--hash=sha256:") >= len(listed), file.name


def test_classify_installs_no_training_registry_or_store_library() -> None:
    text = (ROOT / "functions" / "requirements" / "classify.txt").read_text(encoding="utf-8")
    listed = set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))
    heavy = ("boto", "tensorflow", "keras", "mlflow", "pandas", "matplotlib", "psutil", "s3transfer")
    assert not [name for name in listed if name.startswith(heavy)]
    assert len(listed) < 30


def test_requires_python_includes_the_python_of_the_images() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    low, high = (tuple(map(int, bound.strip("<>=").split("."))) for bound in wanted.split(","))
    for file in ("functions/Dockerfile", "infra/mlflow/Dockerfile"):
        image = re.search(r"^ARG PYTHON=(\d+)\.(\d+)", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert image and low <= tuple(map(int, image.groups())) < high, file
    assert low <= sys.version_info[:2] < high
