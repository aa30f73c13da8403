"""Real servers for the integration tier, each started once, on loopback, and stopped by its own process."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from common.errors import AlreadyRunning, Conflict
from common.objects import Objects, open_objects
from common.objects_s3 import S3Objects
from common.settings import read_settings

START_S = 30
WRITERS = 40
OpenStore = Callable[[], Objects]


@dataclass(frozen=True)
class Minio:
    """A running MinIO: where it is and its root key."""

    url: str
    access_key: str
    secret_key: str

    def make_bucket(self, name: str) -> str:
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )
        try:
            client.create_bucket(Bucket=name)
        finally:
            client.close()
        return name

    def environment(self, bucket: str, folder: Path) -> dict[str, str]:
        """The settings of a function that keeps its data in a bucket here; its secret files go to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "s3-access-key").write_text(self.access_key)
        (folder / "s3-secret-key").write_text(self.secret_key)
        return {
            "SABUESO_STORE": f"s3://{bucket}",
            "AWS_ENDPOINT_URL_S3": self.url,
            "SABUESO_SECRETS": str(folder),
        }


def missing(what: str) -> None:
    """Skip, saying why; where nothing may be skipped (SABUESO_NO_SKIP=1) fail."""
    if os.environ.get("SABUESO_NO_SKIP") == "1":
        pytest.fail(what)
    pytest.skip(what)


def _minio_program() -> str:
    folders = [os.environ.get("PATH", ""), os.environ.get("GOBIN", ""), str(Path("~/go/bin").expanduser())]
    program = shutil.which("minio", path=os.pathsep.join(folder for folder in folders if folder))
    if program is None:
        missing("no `minio` in PATH, $GOBIN or ~/go/bin; .ci/run shows how it is installed with Go")
    return str(program)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if requests.get(url, timeout=1).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    pytest.fail(f"{url} did not answer within {START_S} s; the end of its log:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """A real MinIO on a free port, its data in a folder of this run."""
    program = _minio_program()
    home = tmp_path_factory.mktemp("minio")
    server = Minio(f"http://127.0.0.1:{free_port()}", secrets.token_hex(8), secrets.token_hex(16))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "MINIO_ROOT_USER": server.access_key,
        "MINIO_ROOT_PASSWORD": server.secret_key,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    log = home / "minio.log"
    command = [program, "server", "--address", server.url.removeprefix("http://"), str(home / "data")]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait_for(f"{server.url}/minio/health/ready", process, log)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(params=["folder", "s3"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the same empty store as often as asked."""
    opened: list[Objects] = []
    if request.param == "folder":
        environment = {"SABUESO_STORE": f"file://{tmp_path}/store"}
    else:
        minio: Minio = request.getfixturevalue("minio")
        bucket = minio.make_bucket(f"test-{secrets.token_hex(6)}")
        environment = minio.environment(f"{bucket}/some/prefix", tmp_path / "secrets")
        environment["SABUESO_STORE"] = f"s3://{bucket}/some/prefix"

    def open_one() -> Objects:
        opened.append(open_objects(read_settings(environment)))
        return opened[-1]

    yield open_one
    for store in opened:
        if isinstance(store, S3Objects):
            store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Objects:
    return open_store()


def run_at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call returned or raised; all start together."""
    gate = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return call()
        except (Conflict, AlreadyRunning) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))
