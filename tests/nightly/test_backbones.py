"""All backbones of keras.applications; tests/integration checks the smallest one."""

from typing import Any, get_args

import pytest

from backbone_checks import check_network
from common.pipelines import FROM_SCRATCH, INSTALLED, Backbone
from conftest import printed_json

KERAS = [name for name in get_args(Backbone) if name not in (INSTALLED, FROM_SCRATCH)]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return printed_json("transfer_learning.py", "networks", tmp_path_factory.mktemp("networks"), *KERAS, seconds=3600)


@pytest.mark.parametrize("name", KERAS)
def test_backbone_and_export_compute_what_keras_computes(networks: Any, name: str) -> None:
    check_network(networks[name])
