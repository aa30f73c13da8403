"""Every route of the installed MLflow: one for which it checks no permission is closed to all but administrators."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from mlflow_routes import ADDED, ADDED_NATIVE
from ports import free_port
from servers import ROOT, Server, answers

pytestmark = [pytest.mark.integration, pytest.mark.full]
# Open though MLflow checks nothing before the call.
PUBLIC = {"/health", "/static-files/x", "/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"}
# MLflow leaves out of the answer what the account may not read. Functions and MLflow's pages need the searches; the
# lists are those of MLflow's gateway and workspaces, which nothing here uses.
FILTERED = {
    "mlflow/experiments/search",
    "mlflow/runs/search",
    "mlflow/registered-models/search",
    "mlflow/workspaces",
    "mlflow/gateway/secrets/list",
    "mlflow/gateway/endpoints/list",
}
ACCOUNTS = ("train", "classify")


class Routes(Server):
    """MLflow with the environment that infra/mlflow/start gives it, in which somebody switched the rule off."""

    def __init__(self, home: Path) -> None:
        self.port, self.passwords = free_port(), {name: secrets.token_hex(12) for name in ("admin", *ACCOUNTS)}
        self.url, self.list = f"http://127.0.0.1:{self.port}", home / "routes.json"
        files = {
            "mlflow_s3_secret_key": secrets.token_hex(12),
            "mlflow_admin_password": self.passwords["admin"],
            "mlflow_session_key": secrets.token_hex(16),
            "mlflow_backend_store_uri": f"sqlite:///{home / 'mlflow.db'}",
        }
        for name, text in files.items():
            (home / name).write_text(text)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "SECRETS_FOLDER": str(home),
            "TMPDIR": str(home),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "false",
        }
        server = [sys.executable, str(ROOT / "tests" / "mlflow_routes.py"), str(self.port), str(self.list)]
        super().__init__("mlflow", [str(ROOT / "infra" / "mlflow" / "start"), *server], environment, home)

    def ready(self) -> bool:
        return answers(f"{self.url}/health")

    def status(self, who: str, method: str, path: str) -> int:
        auth = (who, self.passwords[who])
        body = {"json": {}} if method in ("POST", "PUT", "PATCH", "DELETE") else {}
        return requests.request(
            method, self.url + path, auth=auth, timeout=60, allow_redirects=False, **body
        ).status_code


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    with Routes(tmp_path_factory.mktemp("mlflow")) as server:
        assert isinstance(server, Routes)
        for name in ACCOUNTS:
            user = {"username": name, "password": server.passwords[name]}
            url = f"{server.url}/api/2.0/mlflow/users/create"
            requests.post(url, json=user, auth=("admin", server.passwords["admin"]), timeout=60).raise_for_status()
        yield server


def is_open(path: str) -> bool:
    _, _, call = path.partition(".0/")
    return path in PUBLIC or path == "/graphql" or call in FILTERED


def test_a_route_without_a_permission_check_is_closed_or_on_the_list(mlflow: Routes) -> None:
    routes = json.loads(mlflow.list.read_text())
    unchecked = [(method, path) for method, path, checked in routes if not checked and not is_open(path)]
    assert len(routes) > 1000 and {ADDED, ADDED_NATIVE} <= {path for _, path in unchecked}
    for method, path in unchecked:
        for who in ACCOUNTS:
            assert mlflow.status(who, method, path) == 403, f"{who} {method} {path}"


def test_the_list_has_nothing_that_mlflow_closes_or_checks(mlflow: Routes) -> None:
    routes = json.loads(mlflow.list.read_text())
    open_ones = {path for method, path, checked in routes if not checked and is_open(path)}
    assert {path.partition(".0/")[2] for path in open_ones} >= FILTERED and open_ones >= {*PUBLIC, "/graphql"}
    for path in open_ones:
        assert mlflow.status("train", "GET", path) != 403, path


def test_administrators_pass(mlflow: Routes) -> None:
    assert mlflow.status("admin", "GET", ADDED) == 200
    assert mlflow.status("admin", "POST", ADDED) == 200
