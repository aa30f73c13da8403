"""What pictures begin from: the default and the smallest backbone, their weights; tests/nightly has the others."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from backbones import check_export, check_network
from common.errors import TrainingFailed
from common.objects import open_objects
from common.pipeline_keys import BACKBONES
from common.pipelines import Weights
from common.settings import read_settings
from conftest import told_by
from train.fit.weights import fetch_weights

pytestmark = pytest.mark.integration
SMALL = "mobilenet_v3_small"


def test_a_network_of_keras_sees_what_keras_sees_and_its_export_does_too(tmp_path: Path) -> None:
    check_network(told_by("transfer.py", "networks", tmp_path, SMALL)[SMALL])


def test_efficientnet_lite_is_the_network_that_its_weights_were_learned_for(tmp_path: Path) -> None:
    found = told_by("transfer.py", "lite", tmp_path)
    # ImageNet's palace, and its daisy.
    assert found["classes"] == [698, 985]
    check_export(found)


def test_weights_that_are_not_of_the_backbone_or_cant_be_had_are_refused_with_what_to_do(tmp_path: Path) -> None:
    said = told_by("transfer.py", "refused", tmp_path)
    for file in ("top.h5", "other.weights.h5", "empty.weights.h5"):
        assert said[file].startswith("the weights are not those of mobilenet_v3_small")
        assert "without the top" in said[file]
    assert "in no format of Keras" in said["text.h5"]
    assert said["download"].startswith("Keras's weights of mobilenet_v3_small can't be downloaded")
    for advice in (
        "sha256 =",
        'backbone = "efficientnet_lite0"',
        "URL fetch failure on https://storage.googleapis.com/",
    ):
        assert advice in said["download"]
    # A pipeline file may name each backbone that is built, and no other.
    assert [*said["kinds"], "none"] == list(BACKBONES)


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return told_by("transfer.py", "fit", tmp_path_factory.mktemp("fits"))


def test_a_head_on_a_frozen_network_tells_drawings_apart_and_its_last_stage_learns_what_it_lacked(fits: Any) -> None:
    frozen = fits["frozen"]
    assert frozen["plan"]["views"] == 2
    assert frozen["plan"]["fine_tuned"] is False
    assert frozen["curve"] == 0
    assert frozen["accuracy"] > 0.8
    tuned = fits["tuned"]
    assert tuned["plan"]["fine_tuned"] is True
    assert (tuned["plan"]["epochs"], tuned["curve"]) == (10, 10)
    assert tuned["accuracy"] > frozen["accuracy"]
    assert "unseen" not in tuned, "what cross-validation found is of another network"


def test_a_last_stage_that_died_while_it_learned_goes_on_where_it_was(fits: Any) -> None:
    assert fits["dying"]["seen"] == [1, 2, 3, 4, 5]
    assert fits["tuned"]["seen"] == [5, 6, 7, 8, 9, 10]


def test_a_last_stage_that_lost_what_it_knew_is_not_kept(fits: Any) -> None:
    harmed = fits["harmed"]
    assert harmed["seen"] == [1, 2]
    assert harmed["plan"]["fine_tuned"] is False
    assert harmed["accuracy"] == pytest.approx(fits["frozen"]["accuracy"], abs=0.011)
    assert harmed["unseen"] == fits["frozen"]["unseen"]


def test_cross_validation_says_how_unseen_examples_are_answered(fits: Any) -> None:
    assert fits["frozen"]["unseen"] == pytest.approx(fits["frozen"]["accuracy"], abs=0.1)


def test_ten_pictures_of_a_label_are_enough_for_an_answer(fits: Any) -> None:
    assert fits["few"]["plan"]["pictures"] == 20
    assert fits["few"]["accuracy"] > 0.65


def test_labels_with_one_picture_or_none_harm_no_other(fits: Any) -> None:
    assert (fits["rare"]["classes"], fits["rare"]["finite"]) == (4, True)
    assert fits["rare"]["accuracy"] > 0.75


def test_where_the_time_is_too_short_for_all_pictures_some_are_looked_at_once(fits: Any) -> None:
    plan = fits["no time"]["plan"]
    assert (plan["pictures"], plan["views"]) == (512, 1)
    assert fits["no time"]["accuracy"] > 0.8


@pytest.mark.full
def test_weights_come_from_a_store_too(minio: Any, tmp_path: Path) -> None:
    bucket = minio.make_bucket("weights")
    settings = read_settings(
        {**minio.settings(bucket, tmp_path / "secrets"), "SABUESO_SCRATCH": str(tmp_path / "scratch")}
    )
    body = b"the weights" * 1000
    digest = hashlib.sha256(body).hexdigest()
    open_objects(settings).put("some/file.h5", body)
    open_objects(settings).put("file.h5", body)
    for key in ("some/file.h5", "file.h5"):
        settings = read_settings({**settings.environment, "SABUESO_SCRATCH": str(tmp_path / key[:1])})
        assert fetch_weights(Weights(f"s3://{bucket}/{key}", digest), settings).read_bytes() == body
    with pytest.raises(TrainingFailed, match="there are no weights s3://"):
        fetch_weights(Weights(f"s3://{bucket}/some/other.h5", "0" * 64), settings)
