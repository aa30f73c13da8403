"""A store, an MLflow and a champion made by an earlier commit keep working.

tests/kept/COMMIT.tar.xz was made by that commit: a store with samples of flowers (a CSV) and pets (pictures), broken
ones among them; MLflow with two judged versions of flowers, the second promoted by hand, both with the small bundles
of tests/bundles.py; and answers.json, what the three functions answered about it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from all_settings import AllSettings, read_settings
from classify.app import create_app as create_classify
from classify.model_card import NOT_BLANK
from common.inference.features import MAX_TEXT
from common.storage import keys
from common.storage.executions import begin, newest
from common.storage.folder import FolderStore
from common.storage.leases import acquire
from common.storage.training_record import TrainingRecord
from conftest import HERE, KEY, SHIPPED, TOKEN
from fetch_batch.app import create_app as create_fetch_batch
from local_mlflow import LocalMlflow
from train.app import create_app as create_train

pytestmark = pytest.mark.integration
FUNCTIONS = HERE.parent / "functions"
ARCHIVES = sorted((HERE / "kept").glob("*.tar.xz"))


class Kept:
    """An unpacked archive with its MLflow running."""

    def __init__(self, home: Path, settings: AllSettings) -> None:
        self.home, self.settings = home, settings
        self.store = FolderStore(home / "store")
        self.answers = json.loads((home / "answers.json").read_text())

    def post(self, app: Any, path: str, body: Any = None) -> Any:
        answer = app.test_client().post(path, json=body, headers=TOKEN)
        assert answer.status_code == 200, answer.text
        return answer.json


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.partition(".")[0])
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    home = tmp_path / "kept"
    with tarfile.open(request.param) as archive:
        archive.extractall(home)  # noqa: S202 (our own)
    for folder, name, text in (("secrets", "bundle-key", KEY), ("secrets", "train-token", "the-train-token")):
        (home / folder).mkdir(exist_ok=True)
        (home / folder / name).write_text(text)
    shutil.rmtree(home / "pipelines")
    (home / "pipelines").mkdir()
    for file in (HERE / "pipelines" / "flowers.toml", SHIPPED / "pets.toml"):
        shutil.copy(file, home / "pipelines")
    monkeypatch.chdir(home)  # the sources are relative to it
    with LocalMlflow(home / "mlflow") as mlflow:
        environment = {
            "SABUESO_STORE": f"file://{home}/store",
            "SABUESO_SECRETS": str(home / "secrets"),
            "SABUESO_SCRATCH": str(home / "scratch"),
            "SABUESO_PIPELINES": str(home / "pipelines"),
            "SABUESO_EPOCHS": "8",
            "SABUESO_TRIGGER": "off",
            "SABUESO_MIN_INTERVAL_S": "0.000001",
            "MLFLOW_TRACKING_URI": mlflow.url,
            "FLOWERS_SOURCE": "flowers.csv",
            "PETS_SOURCE": "pictures",
        }
        yield Kept(home, read_settings(environment))


def test_what_was_collected_is_reported_alike_and_not_collected_again(kept: Kept) -> None:
    app = create_fetch_batch(kept.settings, kept.store)
    for name, before in kept.answers["fetch"].items():
        now = app.test_client().get(f"/{name}").json
        assert {key: now[key] for key in before} == before
    results = kept.post(app, "/")["results"]
    # The pictures are not in the archive: that source is reported, and the other goes on.
    assert [(one["pipeline"], one["status"], one["stored"]) for one in results] == [
        ("flowers", "complete", 0),
        ("pets", "source-unavailable", 0),
    ]


def test_the_champion_answers_as_before(kept: Kept) -> None:
    client = create_classify(kept.settings).test_client()
    assert client.get("/").json["pipelines"] == kept.answers["index"]["pipelines"]
    card, before = client.get("/flowers").json, kept.answers["card"]
    for column in before["input"]["schema"]["properties"].values():
        if "x-known" in column:  # since then a card says which texts a category takes
            column |= {"minLength": 1, "maxLength": MAX_TEXT, "pattern": NOT_BLANK}
    assert {key: card[key] for key in before} == before
    answer = client.post("/flowers?explain=1", json=kept.answers["rows"]).json
    assert {key: answer[key] for key in kept.answers["classify"]} == kept.answers["classify"]


def test_the_history_of_trainings_stays_and_the_same_snapshot_is_not_trained_again(kept: Kept) -> None:
    app = create_train(kept.settings, kept.store)
    now = app.test_client().get("/flowers").json
    assert {key: now[key] for key in kept.answers["train"]} == kept.answers["train"]
    execution = begin(kept.store, "flowers", TrainingRecord.new())
    lease = acquire(kept.store, keys.lease("flowers", "train"), "train", 60)
    subprocess.run(
        [sys.executable, "-m", "train.job", "flowers", execution.key, lease.nonce],
        env={**os.environ, **kept.settings.environment, "PYTHONPATH": str(FUNCTIONS)},
        cwd=FUNCTIONS,
        check=True,
    )
    last = newest(kept.store, "flowers", TrainingRecord)
    assert last is not None
    assert (last.record.state, last.record.decision, last.record.version) == ("finished", "skipped", "2")


def test_the_earlier_champion_can_be_restored(kept: Kept) -> None:
    answer = kept.post(create_train(kept.settings, kept.store), "/flowers/rollback")
    assert (answer["champion"], answer["previous"]) == ("1", "2")
    assert create_classify(kept.settings).test_client().get("/flowers").json["model"]["version"] == "1"
