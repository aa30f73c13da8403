"""Pictures with a backbone: weights from a file, the head first, then everything; what answers is what was fitted."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from common.errors import TrainingFailed
from common.objects import open_objects
from common.pipeline_keys import BACKBONES
from common.pipelines import Weights
from common.settings import read_settings
from conftest import told_by
from train.fit.weights import fetch_weights

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return told_by("transfer.py", "fit", tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return told_by("transfer.py", "networks", tmp_path_factory.mktemp("networks"))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_answers_as_keras_means_it_and_its_export_does_too(name: str, networks: Any) -> None:
    found = networks[name]
    assert found["fresh"] > 0.01 * found["large"]
    assert all(apart < 1e-4 * found["large"] for apart in found["apart"].values()), found
    assert found["export"] < 1e-4
    # The picture and its mirror image go through the same weights.
    assert found["bytes"] < 4 * found["weights"] + 1e6
    # What keras.applications needs the global setting for is set back.
    assert found["policy"] == "float32"


def test_files_that_are_not_of_the_backbone_are_refused_with_what_to_take(tmp_path: Path) -> None:
    said = told_by("transfer.py", "refused", tmp_path)
    for file in ("top.h5", "other.weights.h5", "empty.weights.h5"):
        assert said[file].startswith("the weights are not those of mobilenet_v3_small")
        assert "without the top" in said[file]
    assert "in no format of Keras" in said["text.h5"]
    # A pipeline file may name each backbone that is built, and no other.
    assert said["kinds"] == list(BACKBONES)


def test_the_head_learns_first_and_then_everything_more_slowly(fits: Any) -> None:
    first, second = fits["first"], fits["second"]
    resting = first["plan"]["head_epochs"]
    assert 0 < resting < first["plan"]["epochs"]
    assert first["moved"][:resting] == [0.0] * resting
    assert all(apart > 0 for apart in first["moved"][resting:])
    assert second["head_moved"] > 0
    assert 0 < max(first["rates"][resting:]) < 0.2 * max(first["rates"][:resting])


def test_a_backbone_that_knows_something_keeps_the_measures_of_its_norms(fits: Any) -> None:
    # The mean over the steps of what stays as it is, is that but for rounding.
    assert fits["second"]["norms_moved"] < 1e-5
    assert fits["before"]["norms_moved"] > 0.1


def test_a_fit_that_died_in_the_second_phase_goes_on_in_it(fits: Any) -> None:
    first, second = fits["first"], fits["second"]
    assert first["seen"] == [1, 2, 3, 4, 5]
    assert second["seen"] == [5, 6]
    assert second["plan"] == first["plan"]
    # The optimizer began anew where everything began to learn, and nowhere else.
    assert second["steps"] == (second["plan"]["epochs"] - second["plan"]["head_epochs"]) * second["batches"]
    assert second["moved"][0] >= first["moved"][3]


def test_a_backbone_without_weights_learns_from_the_start(fits: Any) -> None:
    assert all(apart > 0 for apart in fits["before"]["moved"])


def test_what_was_learnt_on_other_pictures_helps(fits: Any) -> None:
    before, after = fits["before"], fits["second"]
    assert before["accuracies"][-1] > 0.6
    # As many steps from nothing, though with more pictures, lead nowhere yet.
    steps = after["plan"]["epochs"] * after["batches"]
    assert after["accuracy"] > before["accuracies"][steps // before["batches"]] + 0.08


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
