"""Faults of real S3 servers: clocks that disagree, full disks, broken connections, servers that freeze."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
from flask import Flask

from all_settings import AllSettings as Settings
from all_settings import read_settings
from common.errors import StoreUnavailable
from common.storage import keys, s3
from common.storage.leases import acquire, holder_nonce
from common.storage.s3 import S3Store
from conftest import wait_until
from fetch_batch.app import create_app
from local.made_up_rows import made_up_rows
from relay import Relay
from servers import Minio, S3Server, Versitygw

pytestmark = [pytest.mark.integration, pytest.mark.full]


@pytest.fixture(params=["minio", "versitygw"])
def server(request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(request.param)
    return server


def open_bucket(server: S3Server, tmp_path: Path) -> S3Store:
    bucket = server.make_bucket(f"test-{secrets.token_hex(6)}")
    return S3Store(bucket, "", read_settings(server.settings(bucket, tmp_path / "secrets")))


@pytest.mark.parametrize("hours", [-2, 2])
def test_an_error_says_that_the_clocks_disagree(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    now = botocore.auth.get_current_datetime
    with closing(open_bucket(server, tmp_path)) as store:
        store.put("key", b"1", if_absent=True)
        with monkeypatch.context() as patch:
            patch.setattr(botocore.auth, "get_current_datetime", lambda: now() + timedelta(hours=hours))
            with pytest.raises(StoreUnavailable, match=r"RequestTimeTooSkewed.*synchronise both with NTP"):
                store.get("key")
        assert store.get("key").body == b"1"  # type: ignore[union-attr]


@pytest.mark.parametrize("minutes", [-10, 10])
def test_leases_follow_the_store_s_clock_not_ours(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    class WrongClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(minutes=minutes)

    held, expired, new = (keys.lease(name, "train") for name in ("held", "expired", "new"))
    signed, seconds = botocore.auth.get_current_datetime, time.time
    with closing(open_bucket(server, tmp_path)) as store:
        acquire(store, held, "holder", 60)
        acquire(store, expired, "holder", 1)
        wait_until(lambda: holder_nonce(store, expired) is None, 20)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: signed() + timedelta(minutes=minutes))
        monkeypatch.setattr(s3, "datetime", WrongClock)
        monkeypatch.setattr(time, "time", lambda: seconds() + 60 * minutes)
        acquire(store, new, "holder", 60)
        assert holder_nonce(store, held) is not None
        assert holder_nonce(store, new) is not None
        assert holder_nonce(store, expired) is None


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of 40 MB; None where this process may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", folder], capture_output=True)
    yield folder if mounted.returncode == 0 else None
    if mounted.returncode == 0:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_refuses_writes_keeps_the_rest_and_recovers(disk: Path | None, tmp_path: Path) -> None:
    server = Minio(disk or tmp_path)
    if disk is None:  # a limit on the file size interrupts MinIO's writes as well
        server.options["preexec_fn"] = limit_files
    server.start()
    try:
        with closing(open_bucket(server, tmp_path)) as store:
            kept = store.put("kept", b"1", if_absent=True)
            body = bytes(5_000_000)
            with pytest.raises(
                StoreUnavailable, match=r"XMinioStorageFull.*free some space" if disk else "InternalError"
            ):
                for number in range(10):
                    store.put(f"filling/{number}", body, if_absent=True)
            assert store.get("kept").etag == kept  # type: ignore[union-attr]
            stored = list(store.list("filling/"))
            assert all(store.get(key).body == body for key in stored)  # type: ignore[union-attr]
            for key in stored:
                store.delete(key)
            store.put("after", b"2", if_absent=True)
            assert store.get("after").body == b"2"  # type: ignore[union-attr]
    finally:
        server.stop()


def limit_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))


OpenThroughRelay = Callable[[S3Server], tuple[S3Store, Relay]]


@pytest.fixture
def through_relay(tmp_path: Path) -> Iterator[OpenThroughRelay]:
    """through_relay(SERVER): a store in a new bucket, and the relay in front of it, which can fail a request."""
    with contextlib.ExitStack() as stack:

        def make(server: S3Server) -> tuple[S3Store, Relay]:
            relay = stack.enter_context(Relay(server.url))
            bucket = server.make_bucket(f"test-{secrets.token_hex(6)}")
            settings = {**server.settings(bucket, tmp_path / "secrets"), "AWS_ENDPOINT_URL_S3": relay.url}
            return stack.enter_context(closing(S3Store(bucket, "", read_settings(settings)))), relay

        yield make


def test_a_truncated_body_is_read_again(server: S3Server, through_relay: OpenThroughRelay, tmp_path: Path) -> None:
    store, relay = through_relay(server)
    body = secrets.token_bytes(3_000_000)
    store.put("key", body)
    relay.fail_once(rb"GET \S+/key", keep=1_000_000)
    with (tmp_path / "body").open("w+b") as file:
        assert store.read_into("key", file)
        file.seek(0)
        assert file.read() == body
    relay.fail_once(rb"GET \S+/key", keep=1_000_000)
    assert store.get("key").body == body  # type: ignore[union-attr]
    assert relay.faults == 2


@pytest.mark.parametrize("silent", [False, True], ids=["cut", "silent"])
def test_a_large_body_is_stored_even_if_the_last_answer_is_lost(
    server: S3Server, through_relay: OpenThroughRelay, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    monkeypatch.setattr(s3, "PART", 5 << 20)
    monkeypatch.setattr(S3Store, "read_s", 1.0)
    store, relay = through_relay(server)
    body = secrets.token_bytes(6_000_000)
    relay.fail_once(rb"POST \S+uploadId=", silent=silent)
    etag = store.write_from("key", io.BytesIO(body))
    assert relay.faults == 1
    stored = store.get("key")
    assert (stored.body == body, stored.etag) == (True, etag)  # type: ignore[union-attr]


def test_an_upload_that_vanished_is_an_error_even_if_an_older_object_exists(
    minio: Minio, through_relay: OpenThroughRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PART", 5 << 20)
    store, relay = through_relay(minio)
    body = secrets.token_bytes(6_000_000)
    store.write_from("key", io.BytesIO(body))

    def abort() -> None:
        with closing(minio.client(minio.access_key, minio.secret_key)) as client:
            [upload] = client.list_multipart_uploads(Bucket=store.bucket, Prefix="key")["Uploads"]
            client.abort_multipart_upload(Bucket=store.bucket, Key="key", UploadId=upload["UploadId"])

    relay.fail_once(rb"POST \S+uploadId=", keep=1 << 30, before=abort)
    with pytest.raises(StoreUnavailable, match="NoSuchUpload"):
        store.write_from("key", io.BytesIO(secrets.token_bytes(6_000_000)))
    assert store.get("key").body == body  # type: ignore[union-attr]


def test_a_server_that_was_killed_is_used_again_after_its_restart(tmp_path: Path) -> None:
    server = Versitygw(tmp_path)
    server.start()
    try:
        with closing(open_bucket(server, tmp_path)) as store:
            etag = store.put("key", b"1", if_absent=True)
            server.stop(signal.SIGKILL)
            with pytest.raises(StoreUnavailable, match="Start it"):
                store.put("key", b"2", if_match=etag)
            server.start()
            store.put("key", b"2", if_match=etag)
            assert store.get("key").body == b"2"  # type: ignore[union-attr]
    finally:
        server.stop()


def test_a_fetch_whose_store_freezes_keeps_its_answer_for_the_next_one(
    tmp_path: Path, make_settings: Callable[..., Settings], serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "SILENT_S", 600.0)
    server, source, frozen, sent = Minio(tmp_path), Flask("source"), [], []

    @source.get("/data")
    def data() -> dict[str, Any]:
        if not frozen:
            frozen.append(server.process.pid)  # type: ignore[union-attr]
            os.kill(frozen[0], signal.SIGSTOP)
            sent.clear()
        return {"group_number": 1, "batch_number": 1, "data": made_up_rows(5)}

    with server:
        own = {"COVERTYPE_API_URL": serve(source).url, "SABUESO_LEASE_S": "2", "SABUESO_MIN_INTERVAL_S": "0.000001"}
        environment = server.settings(server.make_bucket("bucket"), tmp_path / "secrets")
        settings = make_settings("covertype", **environment, **own)
        with closing(S3Store("bucket", "", settings)) as store:
            store._client.meta.events.register("before-send.s3", lambda request, **_: sent.append(request.url))
            client = create_app(settings, store).test_client()
            try:
                answer = client.post("/covertype")
            finally:
                os.kill(server.process.pid, signal.SIGCONT)  # type: ignore[union-attr]
            assert (answer.status_code, answer.json["type"]) == (503, "urn:sabueso:problem:store-unavailable")
            assert "work continues by itself" in answer.json["detail"]
            assert len(sent) <= 4, sent  # a write and its check; the lease's renewal and its check
            monkeypatch.setattr(s3, "SILENT_S", 0.0)
            wait_until(lambda: client.get("/covertype").status_code == 200, 60)
            status = client.get("/covertype").json
            assert (status["waiting_answers"], status["lost_answers"]) == (1, 0)
            wait_until(lambda: client.post("/covertype").json.get("results", [{}])[0].get("status") == "collected", 60)
            status = client.get("/covertype").json
            assert (status["waiting_answers"], status["lost_answers"], status["samples"]) == (0, 0, 1)
