"""The smallest backbone: weights from a file or a store, what is refused; tests/nightly has the others."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from backbones import check_network
from common.errors import TrainingFailed
from common.objects import open_objects
from common.pipeline_keys import BACKBONES
from common.pipelines import Weights
from common.settings import read_settings
from conftest import told_by
from train.fit.weights import fetch_weights

pytestmark = pytest.mark.integration
SMALL = "mobilenet_v3_small"


def test_a_backbone_answers_as_keras_means_it_and_its_export_does_too(tmp_path: Path) -> None:
    check_network(told_by("transfer.py", "networks", tmp_path, SMALL)[SMALL])


def test_files_that_are_not_of_the_backbone_are_refused_with_what_to_take(tmp_path: Path) -> None:
    said = told_by("transfer.py", "refused", tmp_path)
    for file in ("top.h5", "other.weights.h5", "empty.weights.h5"):
        assert said[file].startswith("the weights are not those of mobilenet_v3_small")
        assert "without the top" in said[file]
    assert "in no format of Keras" in said["text.h5"]
    # A pipeline file may name each backbone that is built, and no other.
    assert said["kinds"] == list(BACKBONES)


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
