"""One system on real servers for all tests of this folder, which run in the order of their files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asking import Source, versions
from conftest import Served
from deployed import Deployed


@pytest.fixture(scope="session")
def source() -> Iterator[Source]:
    source = Source()
    served = Served(source.app)
    source.url = served.url
    yield source
    served.stop()


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory, source: Source) -> Iterator[Deployed]:
    """Running servers and functions, nothing collected yet."""
    system = Deployed(tmp_path_factory.mktemp("deployed"), COVERTYPE_API_URL=source.url)
    try:
        yield system.start()
    finally:
        system.stop()


@pytest.fixture
def collected(deployed: Deployed) -> Deployed:
    deployed.collect()
    return deployed


@pytest.fixture
def trained(collected: Deployed) -> Deployed:
    """With at least two versions, one of them serving."""
    while len(versions(collected)) < 2:
        collected.wait_for_end(collected.train())
    collected.wait_for("classify/covertype", lambda card: card["model"]["version"], "served a champion")
    return collected
