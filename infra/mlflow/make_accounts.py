"""Creates the buckets, MinIO keys and MLflow accounts that the functions use. Safe to repeat: what exists is kept, and
policies and passwords are updated to the current ones.

Environment: AWS_ENDPOINT_URL_S3, MLFLOW_TRACKING_URI, SABUESO_STORE (s3://bucket/prefix), MLFLOW_BUCKET_URL,
MLFLOW_TRAIN_USERNAME, MLFLOW_CLASSIFY_USERNAME; S3_KEYS_BY_HAND=yes for an S3 server other than MinIO.
Files in $SECRETS_FOLDER (default /run/secrets): minio_root_user, minio_root_password, fetch_batch_s3_secret_key,
train_s3_secret_key, mlflow_s3_secret_key, mlflow_admin_password, mlflow_train_password, mlflow_classify_password.
`make_accounts.py --policies` only prints the S3 policy of each key.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from minio import Minio
from minio.credentials import StaticProvider
from minio.error import MinioAdminException, MinioException
from minio.minioadmin import MinioAdmin

READ = ["s3:GetObject"]
WRITE = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
DELETE = ["s3:DeleteObject"]
TIMEOUT_S = 15
# MinIO reports healthy a moment before it accepts calls; until then it answers 503.
RETRIES = urllib3.Retry(4, backoff_factor=0.5, status_forcelist=[503], allowed_methods=None, raise_on_status=False)


class Failed(Exception):
    """What failed, and what to do about it."""


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["--policies"]:
            print(json.dumps(policies(), indent=2))
            return 0
        if arguments:
            print(__doc__, file=sys.stderr)
            return 2
        make_buckets_and_keys()
        make_mlflow_accounts()
    except Failed as error:
        print(f"make_accounts: {error}", file=sys.stderr)
        return 1
    return 0


def secret(name: str) -> str:
    """The text of a secret file. Raises Failed."""
    file = Path(os.environ.get("SECRETS_FOLDER", "/run/secrets")) / name
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Failed(f"the secret file {file} can't be read ({error.strerror}); scripts/make-env creates it") from None
    if not text:
        raise Failed(f"the secret file {file} is empty; scripts/make-env creates it")
    return text


def _bucket(variable: str, default: str) -> tuple[str, str]:
    """Bucket and prefix (empty or with a final slash) of an s3:// URL. Raises Failed."""
    parts = urlsplit(os.environ.get(variable) or default)
    if parts.scheme != "s3" or not parts.netloc:
        raise Failed(f"{variable} must be s3://bucket or s3://bucket/prefix")
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


def policies() -> dict[str, dict[str, Any]]:
    """The S3 policy of each key, with least privilege. Raises Failed."""
    bucket, prefix = _bucket("SABUESO_STORE", "s3://sabueso")
    artifacts, _ = _bucket("MLFLOW_BUCKET_URL", "s3://mlflow")

    def of_function(write: list[str], delete: list[str]) -> dict[str, Any]:
        rights = [(READ, ["*"]), (WRITE, write), (DELETE, delete)]
        return _policy(bucket, [(actions, [prefix + key for key in keys]) for actions, keys in rights])

    return {
        "fetch-batch": of_function(["datasets/*", "jobs/*"], ["jobs/*/runs/*"]),
        "train": of_function(["datasets/*/snapshots/*", "jobs/*"], ["jobs/*/checkpoints/*"]),
        "mlflow": _policy(artifacts, [(READ + WRITE + DELETE, ["*"])]),
    }


def _policy(bucket: str, rights: list[tuple[list[str], list[str]]]) -> dict[str, Any]:
    whole = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
    statements = [{"Effect": "Allow", "Action": whole, "Resource": [f"arn:aws:s3:::{bucket}"]}]
    for actions, keys in rights:
        resources = [f"arn:aws:s3:::{bucket}/{key}" for key in keys]
        statements.append({"Effect": "Allow", "Action": actions, "Resource": resources})
    return {"Version": "2012-10-17", "Statement": statements}


def make_buckets_and_keys() -> None:
    """Create the buckets and, in MinIO, the keys with their policies. Raises Failed."""
    parts = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3", ""))
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Failed("AWS_ENDPOINT_URL_S3 must be the URL of the S3 server, such as http://minio:9000")
    url = _shown(parts.geturl())
    root = StaticProvider(secret("minio_root_user"), secret("minio_root_password"))
    facts: dict[str, Any] = {
        "endpoint": parts.netloc,
        "credentials": root,
        "secure": parts.scheme == "https",
        "region": os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        "http_client": urllib3.PoolManager(timeout=TIMEOUT_S, retries=RETRIES),
    }
    try:
        make_buckets(Minio(**facts))
        if os.environ.get("S3_KEYS_BY_HAND") == "yes":
            print("S3: create the keys by hand (S3_KEYS_BY_HAND); --policies prints their policies")
        else:
            make_keys(MinioAdmin(**facts))
    except MinioAdminException as error:
        raise Failed(
            f"the S3 server {url} refused MinIO's admin API ({_reason(error)}). If it is MinIO, check minio_root_user "
            "and minio_root_password. If not, create the keys fetch-batch, train and mlflow by hand with the policies "
            "that `make_accounts.py --policies` prints, and set S3_KEYS_BY_HAND=yes: docs/object-store.md"
        ) from None
    except MinioException as error:
        code = getattr(error, "code", None) or type(error).__name__
        raise Failed(f"the S3 server {url} answered {code}; check minio_root_user and minio_root_password") from None
    except urllib3.exceptions.HTTPError as error:
        raise Failed(f"the S3 server {url} does not answer ({type(error).__name__}); start it") from None


def make_buckets(client: Minio) -> None:
    for bucket in (_bucket("MLFLOW_BUCKET_URL", "s3://mlflow")[0], _bucket("SABUESO_STORE", "s3://sabueso")[0]):
        exists = client.bucket_exists(bucket)
        if not exists:
            client.make_bucket(bucket)
        print(f"S3: bucket {bucket} {'exists' if exists else 'created'}")


def make_keys(admin: MinioAdmin) -> None:
    """Each key has one policy, of the same name."""
    for name, policy in policies().items():
        admin.policy_add(name, policy=policy)
        admin.user_add(name, secret(f"{name.replace('-', '_')}_s3_secret_key"))
        admin.policy_set(name, user=name)
        print(f"S3: key {name} has its secret and policy")


def _shown(url: str) -> str:
    """The URL without account and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _reason(error: MinioAdminException) -> str:
    try:
        return f"{error._code} {json.loads(error._body)['Code']}"
    except (ValueError, KeyError, TypeError):
        return str(error._code)


def make_mlflow_accounts() -> None:
    """`train` may edit all experiments and models; `classify` only reads (readers.py). Raises Failed."""
    train = os.environ.get("MLFLOW_TRAIN_USERNAME") or "train"
    classify = os.environ.get("MLFLOW_CLASSIFY_USERNAME") or "classify"
    for name, password in ((train, "mlflow_train_password"), (classify, "mlflow_classify_password")):
        is_new = _set_password(name, secret(password))
        print(f"MLflow: account {name} {'created' if is_new else 'has its password'}")
    for kind in ("experiment", "registered_model"):
        grant = {"username": train, "resource_type": kind, "resource_id": "*", "permission": "EDIT"}
        _mlflow("POST", "3.0/mlflow/users/permissions/grant", grant, may_exist=True)
    print(f"MLflow: {train} may edit every experiment and registered model")


def _set_password(name: str, password: str) -> bool:
    """True if the account is new."""
    listed = _mlflow("GET", "2.0/mlflow/users/list")
    known = {user["username"] for user in listed["users"]}
    body = {"username": name, "password": password}
    if name not in known:
        _mlflow("POST", "2.0/mlflow/users/create", body)
        return True
    _mlflow("PATCH", "2.0/mlflow/users/update-password", body)
    return False


def _mlflow(method: str, path: str, body: dict[str, str] | None = None, may_exist: bool = False) -> dict[str, Any]:
    """Call MLflow as admin; with `may_exist`, an existing resource is not an error. Raises Failed."""
    url = os.environ.get("MLFLOW_TRACKING_URI", "http://mlflow:5000").rstrip("/")
    session = requests.Session()
    session.trust_env = False  # the machine's proxy and .netrc are not for our own MLflow
    try:
        answer = session.request(
            method,
            f"{url}/api/{path}",
            json=body,
            auth=("admin", secret("mlflow_admin_password")),
            timeout=TIMEOUT_S,
        )
    except requests.RequestException as error:
        raise Failed(f"MLflow at {_shown(url)} does not answer ({type(error).__name__}); start it") from None
    try:
        found = answer.json()
    except ValueError:
        found = {}
    if answer.ok:
        return dict(found)
    code = found.get("error_code", "")
    if may_exist and code == "RESOURCE_ALREADY_EXISTS":
        return {}
    if answer.status_code == 401:
        raise Failed(
            f"MLflow at {_shown(url)} refused the account admin: mlflow_admin_password is not its password. Change it "
            "in MLflow too: docs/secrets-and-accounts.md"
        )
    if answer.status_code == 403:
        raise Failed(f"MLflow at {_shown(url)} answered 403: its host name is not in MLFLOW_ALLOWED_HOSTS")
    reason = f"{answer.status_code} {code} {found.get('message', '')}".strip()
    raise Failed(f"MLflow at {_shown(url)} answered {reason} to {path}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
