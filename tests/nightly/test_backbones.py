"""Every network of keras.applications; tests/integration has the smallest."""

from typing import Any

import pytest

from backbones import check_network
from common.pipeline_keys import BACKBONES, INSTALLED, NOTHING
from conftest import told_by

KERAS = [name for name in BACKBONES if name not in (INSTALLED, NOTHING)]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return told_by("transfer.py", "networks", tmp_path_factory.mktemp("networks"), *KERAS, seconds=3600)


@pytest.mark.parametrize("name", KERAS)
def test_every_network_sees_what_keras_sees_and_its_export_does_too(networks: Any, name: str) -> None:
    check_network(networks[name])
