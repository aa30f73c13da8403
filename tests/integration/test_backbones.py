"""Fits start from pretrained backbones: the default and the smallest one here, the others in tests/nightly."""

import hashlib
from pathlib import Path
from typing import Any, get_args

import pytest

from all_settings import read_settings
from backbone_checks import check_export, check_network
from common.pipelines import FROM_SCRATCH, Backbone, Weights
from common.storage.open_store import open_store
from conftest import printed_json
from train.errors import TrainingFailed
from train.fit.weight_file import fetch_weights

pytestmark = pytest.mark.integration
SMALL = "mobilenet_v3_small"


def test_a_keras_backbone_and_its_export_compute_what_keras_computes(tmp_path: Path) -> None:
    check_network(printed_json("transfer_learning.py", "networks", tmp_path, SMALL)[SMALL])


def test_efficientnet_lite_classifies_photographs_with_its_imagenet_weights(tmp_path: Path) -> None:
    result = printed_json("transfer_learning.py", "lite", tmp_path)
    assert result["classes"] == [698, 985]  # ImageNet's palace and daisy
    check_export(result)


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return printed_json("transfer_learning.py", "refused", tmp_path_factory.mktemp("refused"))


def test_wrong_or_unavailable_weights_are_refused_with_advice(refusals: Any) -> None:
    for file in ("top.h5", "other.weights.h5", "empty.weights.h5"):
        assert refusals[file].startswith("the weights are not those of mobilenet_v3_small")
        assert "without the top" in refusals[file]
    assert "not in a Keras format" in refusals["text.h5"]
    assert refusals["download"].startswith("Keras's weights of mobilenet_v3_small can't be downloaded")
    for advice in (
        "sha256 =",
        'backbone = "efficientnet_lite0"',
        "URL fetch failure on https://storage.googleapis.com/",
    ):
        assert advice in refusals["download"]


def test_pipeline_files_may_name_exactly_the_backbones_that_can_be_built(refusals: Any) -> None:
    assert sorted([*refusals["backbones"], FROM_SCRATCH]) == sorted(get_args(Backbone))


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return printed_json("transfer_learning.py", "fit", tmp_path_factory.mktemp("fits"))


def test_a_head_on_a_frozen_backbone_classifies_drawings_and_fine_tuning_improves_it(fits: Any) -> None:
    frozen, tuned = fits["frozen"], fits["tuned"]
    assert frozen["params"]["views"] == 2
    assert frozen["params"]["fine_tuned"] is False
    assert frozen["curve"] == 0
    assert frozen["accuracy"] > 0.8
    assert tuned["params"]["fine_tuned"] is True
    assert (tuned["params"]["epochs"], tuned["curve"]) == (6, 6)
    assert tuned["accuracy"] >= frozen["accuracy"]
    assert tuned["loss"] < frozen["loss"]
    assert "cross_validated" not in tuned, "cross-validation measured the frozen network"


def test_an_interrupted_fine_tuning_resumes_at_its_last_saved_epoch(fits: Any) -> None:
    assert fits["crashed"]["epochs"] == [1, 2, 3]
    assert fits["tuned"]["epochs"] == [3, 4, 5, 6]


def test_a_fine_tuned_stage_that_got_worse_is_discarded(fits: Any) -> None:
    harmed = fits["harmed"]
    assert harmed["epochs"] == [1, 2]
    assert harmed["params"]["fine_tuned"] is False
    assert harmed["accuracy"] == pytest.approx(fits["frozen"]["accuracy"], abs=0.011)
    assert harmed["cross_validated"] == fits["frozen"]["cross_validated"]


def test_cross_validation_estimates_the_accuracy_on_unseen_examples(fits: Any) -> None:
    assert fits["frozen"]["cross_validated"] == pytest.approx(fits["frozen"]["accuracy"], abs=0.1)


def test_ten_pictures_per_label_are_enough_to_fit_a_head(fits: Any) -> None:
    assert fits["few"]["params"]["pictures"] == 20
    assert fits["few"]["accuracy"] > 0.65


def test_labels_with_one_picture_or_none_do_not_harm_the_others(fits: Any) -> None:
    assert (fits["rare"]["classes"], fits["rare"]["finite"]) == (4, True)
    assert fits["rare"]["accuracy"] > 0.75


def test_with_too_little_time_a_head_is_fitted_on_some_of_the_pictures(fits: Any) -> None:
    params = fits["no time"]["params"]
    assert (params["pictures"], params["views"]) == (512, 1)
    assert fits["no time"]["accuracy"] > 0.8


@pytest.mark.full
def test_weights_can_come_from_an_s3_store(minio: Any, tmp_path: Path) -> None:
    bucket = minio.make_bucket("weights")
    settings = read_settings(
        {**minio.settings(bucket, tmp_path / "secrets"), "SABUESO_SCRATCH": str(tmp_path / "scratch")}
    )
    body = b"the weights" * 1000
    digest = hashlib.sha256(body).hexdigest()
    open_store(settings).put("some/file.h5", body)
    open_store(settings).put("file.h5", body)
    for key in ("some/file.h5", "file.h5"):
        settings = read_settings({**settings.environment, "SABUESO_SCRATCH": str(tmp_path / key[:1])})
        assert fetch_weights(Weights(path=f"s3://{bucket}/{key}", sha256=digest), settings).read_bytes() == body
    with pytest.raises(TrainingFailed, match="there are no weights at s3://"):
        fetch_weights(Weights(path=f"s3://{bucket}/some/other.h5", sha256="0" * 64), settings)
