"""The door's certificate: the one given, or a self-signed one (infra/nginx/certificate.sh)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from door import Nginx, call

pytestmark = [pytest.mark.integration, pytest.mark.full]


def certificate(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    files = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90"]
    named = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run(["openssl", "req", "-x509", *kind, *named, *files], check=True, capture_output=True)
    return folder


def test_a_certificate_that_is_given_is_used(tmp_path: Path) -> None:
    given = certificate(tmp_path / "given", "localhost")
    door = Nginx(tmp_path, "http://127.0.0.1:9", certificates=given)
    door.start()
    try:
        assert call(door, "GET", "/", verify=str(given / "fullchain.pem")).status_code == 200
    finally:
        door.stop()
    assert not (door.tls / "self-signed").exists()


def test_half_a_certificate_is_refused_and_none_is_made(tmp_path: Path) -> None:
    given = certificate(tmp_path / "given", "localhost")
    (given / "privkey.pem").unlink()
    door = Nginx(tmp_path, "http://127.0.0.1:9", certificates=given)
    refused = door.prepare()
    assert refused.returncode == 2 and "must hold both" in refused.stderr


def test_the_self_signed_certificate_is_kept_for_its_name_and_its_key_is_secret(tmp_path: Path) -> None:
    door = Nginx(tmp_path, "http://127.0.0.1:9", DOOR_SERVER_NAME="sabueso.example")
    assert "browsers will warn" in door.prepare().stderr
    first = Path(door.certificate).read_bytes()
    assert (door.tls / "privkey.pem").stat().st_mode & 0o077 == 0
    assert door.prepare().returncode == 0 and Path(door.certificate).read_bytes() == first
    door.environment["DOOR_SERVER_NAME"] = "example.org"
    assert door.prepare().returncode == 0 and Path(door.certificate).read_bytes() != first


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "http://127.0.0.1:8080/", "http://127.0.0.1:8080/function", ""])
def test_a_gateway_address_that_would_send_calls_elsewhere_is_refused(tmp_path: Path, url: str) -> None:
    refused = Nginx(tmp_path, url).prepare()
    assert refused.returncode == 2 and "DOOR_GATEWAY_URL" in refused.stderr
