"""What the three keys of MinIO may do, and may not: infra/mlflow/make_accounts.py makes them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from botocore.exceptions import ClientError

from accounts import KEYS, Accounts

pytestmark = [pytest.mark.integration, pytest.mark.full]

# What the code writes and deletes: common/{datasets,executions,leases}.py, train/{snapshot,fit/checkpoint}.py.
EVERYWHERE = (
    *("datasets/pets/source.json", "datasets/pets/intents/1.json", "datasets/pets/samples/1/ab"),
    *("datasets/pets/snapshots/ab.json", "jobs/pets/train.json", "jobs/pets/runs/1.json"),
    *("jobs/pets/checkpoints/ab/state.npz", "jobs/conditional-writes.json", "elsewhere/x"),
)
MAY_WRITE = {
    "fetch-batch": {key for key in EVERYWHERE if key.startswith(("datasets/", "jobs/"))},
    "train": {key for key in EVERYWHERE if key.startswith(("datasets/pets/snapshots/", "jobs/"))},
    "mlflow": set(),
}
MAY_DELETE = {
    "fetch-batch": {"jobs/pets/runs/1.json"},
    "train": {"jobs/pets/checkpoints/ab/state.npz"},
    "mlflow": set(),
}


def refused(call: Any, **facts: Any) -> bool:
    try:
        call(**facts)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
        return True
    return False


@pytest.mark.parametrize("key", KEYS)
def test_a_key_writes_and_deletes_in_the_data_bucket_only_what_its_function_does(accounts: Accounts, key: str) -> None:
    with accounts.client(key) as client, contextlib.closing(accounts.s3.client()) as root:
        for name in EVERYWHERE:
            root.put_object(Bucket="sabueso", Key=name, Body=b"root's")
        facts = {"Bucket": "sabueso"}
        written = {name for name in EVERYWHERE if not refused(client.put_object, **facts, Key=name, Body=b"x")}
        assert written == MAY_WRITE[key]
        parts = {name for name in EVERYWHERE if not refused(client.create_multipart_upload, **facts, Key=name)}
        assert parts == MAY_WRITE[key]
        deleted = {name for name in EVERYWHERE if not refused(client.delete_object, **facts, Key=name)}
        assert deleted == MAY_DELETE[key]
        readers = key != "mlflow"
        assert refused(client.list_objects_v2, **facts) is not readers
        assert refused(client.get_object, **facts, Key="datasets/pets/source.json") is not readers


def test_a_missing_object_is_told_from_a_forbidden_one(accounts: Accounts) -> None:
    # Without the right to list, S3 answers 403 for both, and nothing new could ever be made.
    for key in ("fetch-batch", "train"):
        with accounts.client(key) as client, pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket="sabueso", Key="jobs/pets/none.json")


@pytest.mark.parametrize("key", KEYS)
def test_only_mlflow_has_the_bucket_of_artifacts_and_nobody_another(accounts: Accounts, key: str) -> None:
    with accounts.client(key) as client, contextlib.closing(accounts.s3.client()) as root:
        root.put_object(Bucket="mlflow", Key="1/artifacts/theirs", Body=b"x")
        mine = key == "mlflow"
        facts = {"Bucket": "mlflow", "Key": "1/artifacts/theirs"}
        assert refused(client.put_object, **facts, Body=b"x") is not mine
        assert refused(client.get_object, **facts) is not mine
        assert refused(client.list_objects_v2, Bucket="mlflow") is not mine
        assert refused(client.delete_object, **facts) is not mine
        assert refused(client.create_bucket, Bucket=f"new-{key}")
        for bucket in ("sabueso", "mlflow"):
            assert refused(client.delete_bucket, Bucket=bucket)
            assert refused(client.put_bucket_policy, Bucket=bucket, Policy="{}")
