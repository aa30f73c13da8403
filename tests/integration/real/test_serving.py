"""MLflow restarted under classify, and bundles that somebody altered."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

import pytest

from asking import as_train, classify, row_of, versions
from common.registry import Registry
from deployed import Deployed

pytestmark = [pytest.mark.integration, pytest.mark.full]


def test_mlflow_restarted_under_classify_is_not_felt_by_those_who_ask(trained: Deployed) -> None:
    row = row_of(trained)
    now = trained.get("classify/covertype")["model"]["version"]
    trained.mlflow.stop()
    trained.wait_for("classify/covertype", lambda one: one["stale_since"], "said that it may be stale")
    assert classify(trained, row).json()["model"]["version"] == now
    replica = trained.functions["classify"]
    replica.stop()
    replica.start()
    assert classify(trained, row).json()["model"]["version"] == now  # from the scratch folder
    trained.mlflow.start()
    trained.wait_for("classify/covertype", lambda one: one["stale_since"] is None, "was up to date again")
    other = next(one["version"] for one in versions(trained) if one["version"] != now)
    assert trained.post("train/covertype/promote", {"version": int(other)}).status_code == 200
    trained.wait_for("classify/covertype", lambda one: one["model"]["version"] == other, "served the other version")


def altered(bundle: dict[str, bytes], how: str) -> dict[str, bytes]:
    contract = json.loads(bundle["contract.json"])
    if how == "network":
        return {"network.tflite": bundle["network.tflite"][:-1] + b"?"}
    if how == "contract":
        return {"contract.json": json.dumps({**contract, "labels": contract["labels"][::-1]}).encode()}
    del contract["hmac"]
    return {"contract.json": json.dumps(contract).encode()}


@pytest.mark.parametrize("how", ["network", "contract", "unsigned"])
def test_a_tampered_bundle_is_refused_and_the_old_one_stays(
    trained: Deployed, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    row = row_of(trained)
    registry = Registry(trained.settings("train"))
    now = trained.get("classify/covertype")["model"]["version"]
    other = next(one for one in versions(trained) if one["version"] != now)
    address = as_train(trained, monkeypatch).get_model_version_download_uri("covertype", other["version"])
    root = f"{address.removeprefix('mlflow-artifacts:/')}/artifacts/serving/"
    with closing(trained.minio.client()) as s3:
        names = ("contract.json", "network.tflite")
        whole = {name: s3.get_object(Bucket="mlflow", Key=root + name)["Body"].read() for name in names}
        # One that served before is kept by classify, and would serve again without being fetched.
        shutil.rmtree(trained.home / "scratch" / "classify" / "bundles" / "covertype" / other["version"], True)
        for name, body in altered(whole, how).items():
            s3.put_object(Bucket="mlflow", Key=root + name, Body=body)
        registry.move_alias("covertype", other["version"])
        trained.wait_for("classify/covertype", lambda one: one["stale_since"], "refused the tampered bundle")
        assert classify(trained, row).json()["model"]["version"] == now
        assert "the new champion was refused" in trained.functions["classify"].log.read_text()
        registry.move_alias("covertype", now)
        trained.wait_for("classify/covertype", lambda one: one["stale_since"] is None, "was up to date again")
        for name, body in whole.items():
            s3.put_object(Bucket="mlflow", Key=root + name, Body=body)
    registry.move_alias("covertype", other["version"])
    trained.wait_for("classify/covertype", lambda one: one["model"]["version"] == other["version"], "took it whole")
