"""Real servers for the integration tier, each started once, on loopback, and stopped by its own process."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from accounts import Accounts, running
from all_settings import AllSettings as Settings
from all_settings import read_settings
from classify.app import create_app as create_classify
from common.errors import AlreadyRunning, Conflict
from common.storage.folder import FolderStore
from common.storage.object_store import ObjectStore
from common.storage.open_store import open_store as open_store_of
from common.storage.s3 import S3Store
from conftest import Served
from deployed import Function, environment_alone
from deploying import Site, make_gateway
from servers import Minio, Mysql, S3Server, Versitygw

WRITERS = 40
OpenStore = Callable[[], ObjectStore]


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """A real MinIO for reading and writing; tests of outages start their own."""
    with Minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versitygw]:
    with Versitygw(tmp_path_factory.mktemp("versitygw")) as server:
        yield server


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """MinIO, MariaDB and MLflow with keys and accounts; tests must not stop them."""
    with running(tmp_path_factory.mktemp("accounts"), Mysql) as accounts:
        yield accounts


@pytest.fixture
def function(tmp_path: Path, secrets: Path) -> Iterator[Callable[..., Function]]:
    """function("classify", NAME="value"): starts that function in its own process and waits until it is `ready`."""
    started: list[Function] = []

    def start(name: str, ready: bool = True, **environment: str) -> Function:
        fixed = {**environment_alone(name, tmp_path), **environment}
        started.append(Function(name, int(fixed["PORT"]), fixed, tmp_path))
        started[-1].start(wait=ready)
        return started[-1]

    yield start
    for function in started:
        function.stop()


SERVERS = [pytest.param(name, marks=pytest.mark.full) for name in ("minio", "versitygw")]


@pytest.fixture(params=["folder", *SERVERS])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """open_store(): a new client of the same store, empty at first."""
    opened: list[ObjectStore] = []
    if request.param == "folder":
        environment = {"SABUESO_STORE": f"file://{tmp_path}/store"}
    else:
        server: S3Server = request.getfixturevalue(request.param)
        bucket = server.make_bucket(f"test-{secrets.token_hex(6)}")
        environment = server.settings(f"{bucket}/some/prefix", tmp_path / "secrets")

    def open_one() -> ObjectStore:
        opened.append(open_store_of(read_settings(environment)))
        return opened[-1]

    yield open_one
    for store in opened:
        if isinstance(store, S3Store):
            store.close()


@pytest.fixture
def store(open_store: OpenStore) -> ObjectStore:
    return open_store()


def run_at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Start all calls together; what each returned, or the Conflict or AlreadyRunning that it raised."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return call()
        except (Conflict, AlreadyRunning) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.fixture
def site(make_settings: Callable[..., Settings], serve: Callable[[Flask], Served], tmp_path: Path) -> Site:
    """The functions behind a gateway, with no data and no version; their store is the folder tmp_path/store."""
    settings = make_settings("covertype", "pets")
    classify = create_classify(make_settings("covertype", "pets", SABUESO_STORE=""))
    (tmp_path / "site").mkdir()
    gateway = make_gateway(classify, settings, FolderStore(tmp_path / "store"), tmp_path / "site")
    return Site(tmp_path / "site", serve(gateway), settings, gateway.extensions["asked"])
