"""classify while MLflow restarts, and with altered bundles."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

import pytest

from asking import as_train, classify, row_of, versions
from deployed import Deployed
from train.registry import VersionRegistry

pytestmark = [pytest.mark.integration, pytest.mark.full]


def test_classify_answers_while_mlflow_restarts(trained: Deployed) -> None:
    row = row_of(trained)
    current = trained.get("classify/covertype")["model"]["version"]
    trained.mlflow.stop()
    trained.wait_for("classify/covertype", lambda card: card["stale_since"], "reported that it may be stale")
    assert classify(trained, row).json()["model"]["version"] == current
    replica = trained.functions["classify"]
    replica.stop()
    replica.start()
    assert classify(trained, row).json()["model"]["version"] == current  # from the scratch folder
    trained.mlflow.start()
    trained.wait_for("classify/covertype", lambda card: card["stale_since"] is None, "was up to date again")
    other = next(version.number for version in versions(trained) if version.number != current)
    assert trained.post("train/covertype/promote", {"version": int(other)}).status_code == 200
    trained.wait_for("classify/covertype", lambda card: card["model"]["version"] == other, "served the other version")


def altered(bundle: dict[str, bytes], how: str) -> dict[str, bytes]:
    contract = json.loads(bundle["contract.json"])
    if how == "network":
        return {"network.tflite": bundle["network.tflite"][:-1] + b"?"}
    if how == "contract":
        return {"contract.json": json.dumps({**contract, "labels": contract["labels"][::-1]}).encode()}
    del contract["hmac"]
    return {"contract.json": json.dumps(contract).encode()}


@pytest.mark.parametrize("how", ["network", "contract", "unsigned"])
def test_a_tampered_bundle_is_refused_and_the_old_one_serves(
    trained: Deployed, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    row = row_of(trained)
    registry = VersionRegistry(trained.settings("train"))
    current = trained.get("classify/covertype")["model"]["version"]
    other = next(version.number for version in versions(trained) if version.number != current)
    uri = as_train(trained, monkeypatch).get_model_version_download_uri("covertype", other)
    root = f"{uri.removeprefix('mlflow-artifacts:/')}/artifacts/serving/"
    with closing(trained.minio.client()) as s3:
        names = ("contract.json", "network.tflite")
        originals = {name: s3.get_object(Bucket="mlflow", Key=root + name)["Body"].read() for name in names}
        # classify keeps bundles that served before, and would not download this one again.
        shutil.rmtree(trained.home / "scratch" / "classify" / "bundles" / "covertype" / other, True)
        for name, body in altered(originals, how).items():
            s3.put_object(Bucket="mlflow", Key=root + name, Body=body)
        registry.move_alias("covertype", other)
        trained.wait_for("classify/covertype", lambda card: card["stale_since"], "refused the tampered bundle")
        assert classify(trained, row).json()["model"]["version"] == current
        assert "the new champion was refused" in trained.functions["classify"].log.read_text()
        registry.move_alias("covertype", current)
        trained.wait_for("classify/covertype", lambda card: card["stale_since"] is None, "was up to date again")
        for name, body in originals.items():
            s3.put_object(Bucket="mlflow", Key=root + name, Body=body)
    registry.move_alias("covertype", other)
    trained.wait_for("classify/covertype", lambda card: card["model"]["version"] == other, "served the restored bundle")
