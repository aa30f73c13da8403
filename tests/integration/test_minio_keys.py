"""Permissions of the three MinIO keys that infra/mlflow/make_accounts.py makes."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from botocore.exceptions import ClientError

from accounts import KEYS, Accounts
from common.storage import keys

pytestmark = [pytest.mark.integration, pytest.mark.full]

# One key of each kind in common/storage/keys.py, and one that the code never uses.
RUN = keys.execution("pets", "2026-01-01T00:00:00.000Z", "train-1")
CHECKPOINT = keys.checkpoint("pets", "ab", "state.npz")
EVERYWHERE = (
    *(keys.source("pets"), keys.intent("pets", "1"), keys.sample("pets", 1, "ab")),
    *(keys.snapshot("pets", "ab"), keys.lease("pets", "train"), RUN, CHECKPOINT, keys.PROBE, "elsewhere/x"),
)
MAY_WRITE = {
    "fetch-batch": {key for key in EVERYWHERE if key.startswith(("datasets/", "jobs/"))},
    "train": {key for key in EVERYWHERE if key.startswith((keys.snapshots("pets"), "jobs/"))},
    "mlflow": set(),
}
MAY_DELETE = {
    "fetch-batch": {RUN},
    "train": {CHECKPOINT},
    "mlflow": set(),
}


def is_refused(call: Any, **facts: Any) -> bool:
    try:
        call(**facts)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
        return True
    return False


@pytest.mark.parametrize("key", KEYS)
def test_a_key_writes_and_deletes_only_what_its_function_needs(accounts: Accounts, key: str) -> None:
    with accounts.client(key) as client, contextlib.closing(accounts.s3.client()) as root:
        for name in EVERYWHERE:
            root.put_object(Bucket="sabueso", Key=name, Body=b"root's")
        facts = {"Bucket": "sabueso"}
        written = {name for name in EVERYWHERE if not is_refused(client.put_object, **facts, Key=name, Body=b"x")}
        assert written == MAY_WRITE[key]
        uploads = {name for name in EVERYWHERE if not is_refused(client.create_multipart_upload, **facts, Key=name)}
        assert uploads == MAY_WRITE[key]
        deleted = {name for name in EVERYWHERE if not is_refused(client.delete_object, **facts, Key=name)}
        assert deleted == MAY_DELETE[key]
        may_read = key != "mlflow"
        assert is_refused(client.list_objects_v2, **facts) is not may_read
        assert is_refused(client.get_object, **facts, Key=keys.source("pets")) is not may_read


def test_a_missing_object_is_distinguished_from_a_forbidden_one(accounts: Accounts) -> None:
    # Without the permission to list, S3 answers 403 for both, and no object could ever be created.
    for key in ("fetch-batch", "train"):
        with accounts.client(key) as client, pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket="sabueso", Key="jobs/pets/none.json")


@pytest.mark.parametrize("key", KEYS)
def test_only_mlflow_may_use_the_artifact_bucket_and_no_key_makes_buckets(accounts: Accounts, key: str) -> None:
    with accounts.client(key) as client, contextlib.closing(accounts.s3.client()) as root:
        root.put_object(Bucket="mlflow", Key="1/artifacts/model", Body=b"x")
        may_use = key == "mlflow"
        facts = {"Bucket": "mlflow", "Key": "1/artifacts/model"}
        assert is_refused(client.put_object, **facts, Body=b"x") is not may_use
        assert is_refused(client.get_object, **facts) is not may_use
        assert is_refused(client.list_objects_v2, Bucket="mlflow") is not may_use
        assert is_refused(client.delete_object, **facts) is not may_use
        assert is_refused(client.create_bucket, Bucket=f"new-{key}")
        for bucket in ("sabueso", "mlflow"):
            assert is_refused(client.delete_bucket, Bucket=bucket)
            assert is_refused(client.put_bucket_policy, Bucket=bucket, Policy="{}")
