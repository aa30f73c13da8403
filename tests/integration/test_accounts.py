"""Permissions of MLflow's accounts, and the errors of infra/mlflow/make_accounts.py and infra/mlflow/start."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from flask import Flask, Response

from accounts import Accounts, make_version, running
from conftest import Served
from servers import Minio, Mlflow, Postgres, Versitygw

pytestmark = [pytest.mark.integration, pytest.mark.full]


def test_a_second_run_changes_only_new_passwords(accounts: Accounts) -> None:
    old = {**accounts.passwords}
    again = accounts.make()
    assert again.returncode == 0, again.stderr
    assert "bucket sabueso exists" in again.stdout and "account train has its password" in again.stdout
    for name in ("fetch-batch", "mlflow-classify"):
        accounts.passwords[name] = secrets.token_hex(24)
    changed = accounts.make()
    assert changed.returncode == 0, changed.stderr
    shown = changed.stdout + changed.stderr
    assert not [password for password in (*accounts.passwords.values(), *old.values()) if password in shown]
    with accounts.client("fetch-batch") as client:
        client.put_object(Bucket="sabueso", Key="jobs/pets/fetch.json", Body=b"x")
    with accounts.client("fetch-batch", old["fetch-batch"]) as client, pytest.raises(ClientError, match="Signature"):
        client.list_objects_v2(Bucket="sabueso")
    path = "mlflow/experiments/get?experiment_id=0"
    assert accounts.call("classify", "GET", path).status_code == 200
    assert accounts.call(f"classify:{old['mlflow-classify']}", "GET", path).status_code == 401
    assert accounts.call("train", "GET", path).status_code == 200


@pytest.fixture(scope="module")
def version(accounts: Accounts) -> dict[str, str]:
    return make_version(accounts, "train", "pets")


def state(accounts: Accounts, version: dict[str, str]) -> tuple[Any, ...]:
    """Everything that a write could change."""
    with contextlib.closing(accounts.s3.client()) as root:
        objects = [(one["Key"], one["ETag"]) for one in root.list_objects_v2(Bucket="mlflow").get("Contents", [])]
        uploads = root.list_multipart_uploads(Bucket="mlflow", Prefix=version["bundle"]).get("Uploads", [])
    model = accounts.get("admin", "GET", "mlflow/registered-models/get", params={"name": version["model"]})
    versions = accounts.get("admin", "GET", "mlflow/model-versions/search", params={"filter": "name='pets'"})
    experiments = accounts.get("admin", "POST", "mlflow/experiments/search", json={"max_results": 100})
    models = accounts.get("admin", "GET", "mlflow/registered-models/search")
    run = accounts.get("admin", "GET", "mlflow/runs/get", params={"run_id": version["run"]})
    return objects, uploads, model, versions, experiments, models, run


def test_classify_reads_alias_version_and_bundle(accounts: Accounts, version: dict[str, str]) -> None:
    champion = accounts.get(
        "classify", "GET", "mlflow/registered-models/alias", params={"name": "pets", "alias": "champion"}
    )
    assert champion["model_version"]["version"] == "1"
    key = {"name": "pets", "version": "1"}
    assert accounts.get("classify", "GET", "mlflow/model-versions/get", params=key)["model_version"]["tags"]
    uri = accounts.get("classify", "GET", "mlflow/model-versions/get-download-uri", params=key)["artifact_uri"]
    folder = uri.removeprefix("mlflow-artifacts:/") + "/artifacts/serving"
    listed = accounts.get("classify", "GET", "mlflow-artifacts/artifacts", params={"path": folder})
    assert [Path(entry["path"]).name for entry in listed["files"]] == ["contract.json"]
    bundle = accounts.call("classify", "GET", f"mlflow-artifacts/artifacts/{version['bundle']}/contract.json")
    assert bundle.content == b"a bundle"


# Calls that change something; {name} in a path or a body is replaced by a field of the version.
WRITES = [
    ("PUT", "mlflow-artifacts/artifacts/{bundle}/contract.json", b"another bundle"),
    ("PUT", "mlflow-artifacts/artifacts/{bundle}/more.json", b"more"),
    ("PUT", "/ajax-api/2.0/mlflow-artifacts/artifacts/{bundle}/contract.json", b"another bundle"),
    ("PUT", "mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/x", b"x"),
    ("PUT", "mlflow-artifacts/artifacts/{experiment}/x", b"x"),
    ("PUT", "mlflow-artifacts/artifacts/outside.txt", b"x"),
    ("PUT", "mlflow-artifacts/artifacts/other/folder/outside.txt", b"x"),
    ("PUT", "mlflow-artifacts/artifacts/%2531/models/x", b"x"),
    ("DELETE", "mlflow-artifacts/artifacts/{bundle}/contract.json", None),
    ("DELETE", "mlflow-artifacts/artifacts/{experiment}", None),
    ("DELETE", "mlflow-artifacts/artifacts/outside.txt", None),
    ("POST", "mlflow-artifacts/mpu/create/{bundle}", {"path": "contract.json", "num_parts": 1}),
    ("POST", "mlflow-artifacts/mpu/create/outside", {"path": "outside.txt", "num_parts": 1}),
    ("POST", "mlflow-artifacts/mpu/complete/{bundle}", {"path": "contract.json", "upload_id": "x", "parts": []}),
    ("POST", "mlflow-artifacts/mpu/abort/{bundle}", {"path": "contract.json", "upload_id": "x"}),
    ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=x", b"x"),
    ("POST", "mlflow/registered-models/alias", {"name": "pets", "alias": "champion", "version": "1"}),
    ("POST", "mlflow/registered-models/alias", {"name": "pets", "alias": "another", "version": "1"}),
    ("DELETE", "mlflow/registered-models/alias", {"name": "pets", "alias": "champion"}),
    ("POST", "mlflow/model-versions/set-tag", {"name": "pets", "version": "1", "key": "result", "value": "rejected"}),
    ("DELETE", "mlflow/model-versions/delete-tag", {"name": "pets", "version": "1", "key": "result"}),
    ("POST", "mlflow/registered-models/set-tag", {"name": "pets", "key": "k", "value": "v"}),
    ("POST", "mlflow/model-versions/create", {"name": "pets", "source": "mlflow-artifacts:/outside"}),
    ("PATCH", "mlflow/model-versions/update", {"name": "pets", "version": "1", "description": "d"}),
    ("DELETE", "mlflow/model-versions/delete", {"name": "pets", "version": "1"}),
    ("PATCH", "mlflow/registered-models/update", {"name": "pets", "description": "d"}),
    ("POST", "mlflow/registered-models/rename", {"name": "pets", "new_name": "dogs"}),
    ("DELETE", "mlflow/registered-models/delete", {"name": "pets"}),
    ("POST", "mlflow/registered-models/create", {"name": "covertype"}),
    ("POST", "mlflow/experiments/create", {"name": "covertype"}),
    ("POST", "mlflow/experiments/delete", {"experiment_id": "{experiment}"}),
    ("POST", "mlflow/runs/create", {"experiment_id": "{experiment}"}),
    ("POST", "mlflow/runs/log-metric", {"run_id": "{run}", "key": "accuracy", "value": 1.0, "timestamp": 2}),
    ("POST", "mlflow/runs/set-tag", {"run_id": "{run}", "key": "k", "value": "v"}),
    ("POST", "mlflow/runs/delete", {"run_id": "{run}"}),
    ("PATCH", "mlflow/logged-models/{logged}/tags", {"tags": [{"key": "k", "value": "v"}]}),
    ("POST", "mlflow/users/create", {"username": "second", "password": "long-enough-password"}),
    ("PATCH", "mlflow/users/update-admin", {"username": "classify", "is_admin": True}),
]


def test_classify_can_t_change_anything(accounts: Accounts, version: dict[str, str]) -> None:
    before = state(accounts, version)
    for method, path, body in WRITES:
        if isinstance(body, dict):
            filled = {key: value.format(**version) if isinstance(value, str) else value for key, value in body.items()}
            request: dict[str, Any] = {"json": filled}
        else:
            request = {"data": body}
        answer = accounts.call("classify", method, path.format(**version), **request)
        assert answer.status_code == 403, f"{method} {path}: {answer.status_code} {answer.text[:200]}"
    assert state(accounts, version) == before


@pytest.mark.parametrize("name", ["CLASSIFY", "Classify", "clássify"])
def test_names_that_the_database_takes_for_equal_give_no_permission(
    accounts: Accounts, version: dict[str, str], name: str
) -> None:
    before = state(accounts, version)
    person = f"{name}:{accounts.passwords['mlflow-classify']}"
    for path, body in (
        ("mlflow/registered-models/create", {"name": "taken-before-train"}),
        ("mlflow/experiments/create", {"name": "taken-before-train"}),
    ):
        answer = accounts.call(person, "POST", path, json=body)
        assert answer.status_code in (401, 403), f"{path}: {answer.status_code} {answer.text[:200]}"
    assert state(accounts, version) == before


def test_another_person_reads_but_can_t_change_what_train_made(accounts: Accounts, version: dict[str, str]) -> None:
    person = "someone:a-password-of-theirs"
    name, _, password = person.partition(":")
    accounts.get("admin", "POST", "mlflow/users/create", json={"username": name, "password": password})
    before = state(accounts, version)
    assert accounts.call(person, "GET", f"mlflow-artifacts/artifacts/{version['bundle']}/contract.json").ok
    allowed_to_all = ("registered-models/create", "experiments/create")  # which they then own
    for method, path, body in WRITES:
        if path.endswith(allowed_to_all):
            continue
        if isinstance(body, dict):
            filled = {key: value.format(**version) if isinstance(value, str) else value for key, value in body.items()}
            answer = accounts.call(person, method, path.format(**version), json=filled)
        else:
            answer = accounts.call(person, method, path.format(**version), data=body)
        assert answer.status_code == 403, f"{method} {path}: {answer.status_code} {answer.text[:200]}"
    assert state(accounts, version) == before


def test_train_may_write_to_experiments_and_models_of_others(accounts: Accounts) -> None:
    experiment = accounts.get("admin", "POST", "mlflow/experiments/create", json={"name": "by hand"})["experiment_id"]
    accounts.get("admin", "POST", "mlflow/registered-models/create", json={"name": "by-hand"})
    run = accounts.get("train", "POST", "mlflow/runs/create", json={"experiment_id": experiment})["run"]["info"]
    accounts.get("train", "PUT", f"mlflow-artifacts/artifacts/{experiment}/{run['run_id']}/artifacts/x", data=b"x")
    source = f"mlflow-artifacts:/{experiment}/{run['run_id']}/artifacts"
    body = {"name": "by-hand", "source": source, "run_id": run["run_id"]}
    accounts.get("train", "POST", "mlflow/model-versions/create", json=body)
    alias = {"name": "by-hand", "alias": "champion", "version": "1"}
    accounts.get("train", "POST", "mlflow/registered-models/alias", json=alias)
    # It is no administrator and deletes only its own.
    assert (
        accounts.call("train", "DELETE", "mlflow/registered-models/delete", json={"name": "by-hand"}).status_code == 403
    )
    user = {"username": "second", "password": "long-enough-password"}
    assert accounts.call("train", "POST", "mlflow/users/create", json=user).status_code == 403


def test_without_an_account_only_the_health_check_answers(accounts: Accounts, version: dict[str, str]) -> None:
    for path in (
        *("/", "mlflow/registered-models/search", "mlflow/experiments/get?experiment_id=0"),
        *(f"mlflow-artifacts/artifacts/{version['bundle']}/contract.json", "mlflow/users/list"),
    ):
        assert accounts.call("", "GET", path).status_code == 401, path
    assert accounts.call("", "PUT", "mlflow-artifacts/artifacts/outside.txt", data=b"x").status_code == 401
    assert accounts.call("classify:wrong", "GET", "mlflow/registered-models/search").status_code == 401
    assert accounts.call("", "GET", "/health").status_code == 200


def test_an_unknown_host_name_is_refused(accounts: Accounts) -> None:
    for host, status in (("evil.example", 403), ("mlflow:5000", 200)):
        answer = accounts.call("admin", "GET", "mlflow/experiments/get?experiment_id=0", headers={"Host": host})
        assert answer.status_code == status


def test_accounts_work_on_postgresql_and_survive_a_restart(tmp_path: Path) -> None:
    with running(tmp_path, Postgres) as accounts:
        version = make_version(accounts, "train", "pets")
        mlflow = accounts.mlflow
        assert mlflow is not None
        mlflow.stop()
        mlflow.start()
        alias = {"name": "pets", "alias": "champion"}
        champion = accounts.get("classify", "GET", "mlflow/registered-models/alias", params=alias)
        assert champion["model_version"]["version"] == "1"
        bundle = f"mlflow-artifacts/artifacts/{version['bundle']}/contract.json"
        assert accounts.call("classify", "GET", bundle).content == b"a bundle"
        assert accounts.call("classify", "PUT", bundle, data=b"another").status_code == 403
        again = accounts.make()
        assert again.returncode == 0, again.stderr


def test_errors_name_the_cause_and_the_next_step(accounts: Accounts) -> None:
    root, admin = accounts.root, accounts.admin
    try:
        accounts.root = (root[0], "not-the-password")
        assert "check minio_root_user and minio_root_password" in accounts.make().stderr
        accounts.root, accounts.admin = root, "not-the-password"
        assert "refused the account admin" in accounts.make().stderr
    finally:
        accounts.root, accounts.admin = root, admin
    dead = "http://127.0.0.1:9"
    for variable, service in (("AWS_ENDPOINT_URL_S3", "the S3 server"), ("MLFLOW_TRACKING_URI", "MLflow at")):
        made = accounts.make(**{variable: dead})
        assert made.returncode == 1 and service in made.stderr and dead in made.stderr
        assert "Traceback" not in made.stderr
    (accounts.folder / "empty").mkdir()
    made = accounts.make(SECRETS_FOLDER=str(accounts.folder / "empty"))
    assert made.returncode == 1 and "minio_root_user" in made.stderr


def test_another_s3_server_gets_its_buckets_and_needs_keys_made_by_hand(
    accounts: Accounts, versitygw: Versitygw, tmp_path: Path
) -> None:
    other = Accounts(tmp_path / "accounts", versitygw, accounts.mlflow)
    other.admin, other.passwords = accounts.admin, accounts.passwords
    buckets = {"SABUESO_STORE": "s3://accounts-data/some/prefix", "MLFLOW_BUCKET_URL": "s3://accounts-artifacts"}
    made = other.make(**buckets)
    assert made.returncode == 1 and "S3_KEYS_BY_HAND=yes" in made.stderr
    made = other.make(**buckets, S3_KEYS_BY_HAND="yes")
    assert made.returncode == 0, made.stderr
    with contextlib.closing(versitygw.client()) as client:
        names = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    assert {"accounts-data", "accounts-artifacts"} <= names


def test_mlflow_waits_for_its_database_without_logging_the_password(tmp_path: Path, minio: Minio) -> None:
    server = Mlflow(tmp_path, minio, "mysql+pymysql://mlflow:s3cret%2Fword@127.0.0.1:9/mlflow")
    server.environment["DATABASE_WAIT_S"] = "2"
    server.start(wait=False)
    assert server.process is not None and server.process.wait(120) == 3
    log = server.log.read_text()
    assert "waiting up to 2 s for mysql+pymysql://mlflow:***@127.0.0.1:9/mlflow" in log
    assert "gave up after 2 s" in log and "s3cret" not in log


@pytest.mark.parametrize("password", ["s3@cr3t:w0rd", "s3@cr3t", "s3@cr3t/w0rd", "s3@cr3t?w0rd"])
def test_a_password_with_unescaped_characters_is_refused_and_not_shown(
    tmp_path: Path, minio: Minio, password: str
) -> None:
    server = Mlflow(tmp_path, minio, f"mysql+pymysql://mlflow:{password}@127.0.0.1:9/mlflow")
    server.start(wait=False)
    assert server.process is not None and server.process.wait(120) == 2
    log = server.log.read_text()
    assert "MLFLOW_BACKEND_STORE_URI is invalid" in log and "@ as %40" in log
    assert "cr3t" not in log and "w0rd" not in log and "Traceback" not in log


def test_mlflow_does_not_start_without_a_secret(tmp_path: Path, minio: Minio) -> None:
    for name in ("mlflow_s3_secret_key", "mlflow_admin_password", "mlflow_session_key", "mysql_password"):
        home = tmp_path / name
        home.mkdir()
        server = Mlflow(home, minio, "")
        (home / "run-secrets" / name).unlink(missing_ok=True)
        server.start(wait=False)
        assert server.process is not None and server.process.wait(120) == 2
        assert f"no secret file {home}/run-secrets/{name}" in server.log.read_text()


def test_a_minio_that_is_still_starting_is_retried(serve: Callable[[Flask], Served], tmp_path: Path) -> None:
    starting, calls = Flask("minio"), []

    @starting.route("/<bucket>", methods=["HEAD"])
    def bucket_exists(bucket: str) -> Response:
        calls.append(bucket)
        return Response(status=503 if len(calls) < 3 else 200)

    s3 = SimpleNamespace(url=serve(starting).url, access_key="root", secret_key="a-secret-key")
    made = Accounts(tmp_path / "accounts", s3, None).make(S3_KEYS_BY_HAND="yes")  # type: ignore[arg-type]
    assert "bucket mlflow exists" in made.stdout, made.stderr
    assert calls == ["mlflow"] * 3 + ["sabueso"]
