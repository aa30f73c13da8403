"""A backup restored into empty servers."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from asking import Source, as_train, row_of, samples, versions
from backup_site import Site
from deployed import Deployed

pytestmark = [pytest.mark.integration, pytest.mark.full]
STORE = {"SABUESO_STORE": "s3://sabueso"}


def test_a_restored_backup_gives_the_same_predictions_and_lineage(
    trained: Deployed, source: Source, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("backup") / "today"
    code, output = Site(trained.home, trained.minio, trained.mysql, STORE).run("backup", folder)
    assert code == 0, output
    rows = [dict(row_of(trained), Elevation=elevation) for elevation in range(2000, 3600, 100)]
    before = lineage(trained, rows, monkeypatch)
    home = tmp_path_factory.mktemp("restored")
    restored = Deployed(home, like=trained, COVERTYPE_API_URL=source.url)
    try:
        restored.minio.start()
        restored.mysql.start()
        code, output = Site(home, restored.minio, restored.mysql, STORE).run("restore", folder)
        assert code == 0, output
        restored.start()
        restored.wait_for("classify/covertype", lambda card: card["model"]["version"], "served its champion")
        assert lineage(restored, rows, monkeypatch) == before
        assert restored.wait_for_end(restored.train(force=False))["decision"] == "skipped"
    finally:
        restored.stop()


def lineage(deployed: Deployed, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What must be the same after a restore: predictions, versions, runs, data sets, samples."""
    answer = requests.post(deployed.url("classify/covertype"), json=rows, timeout=60).json()
    client = as_train(deployed, monkeypatch)
    registered = versions(deployed)
    runs = {version.number: client.get_run(version.run_id) for version in registered}
    status, card = deployed.get("fetch-batch/covertype"), deployed.get("classify/covertype")
    for body in (status, card):
        del body["request_id"]
    return {
        "predictions": (answer["model"], answer["predictions"]),
        "card": card,
        "versions": registered,
        "runs": {
            number: (run.data.params, run.data.metrics, run.data.tags, run.inputs.to_dictionary())
            for number, run in runs.items()
        },
        "trainings": [record["id"] for record in deployed.get("train/covertype")["history"]],
        "fetch": status,
        "samples": samples(deployed),
    }
