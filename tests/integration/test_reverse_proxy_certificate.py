"""The certificate of the reverse proxy: given, or self-signed (infra/nginx/certificate.sh)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reverse_proxy import Nginx, call

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
    proxy = Nginx(tmp_path, "http://127.0.0.1:9", certificates=given)
    proxy.start()
    try:
        for path, status in (("/", 200), ("/function/nothing", 404)):
            answer = call(proxy, "GET", path, verify=str(given / "fullchain.pem"))
            assert answer.status_code == status
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    finally:
        proxy.stop()
    assert not (proxy.tls / "self-signed").exists()


def test_a_self_signed_certificate_comes_without_hsts(tmp_path: Path) -> None:
    proxy = Nginx(tmp_path, "http://127.0.0.1:9", certificates=certificate(tmp_path / "given", "localhost"))
    assert proxy.prepare().returncode == 0
    for file in (tmp_path / "given").iterdir():
        file.unlink()
    with proxy:  # the given certificate is gone: HSTS must go too
        assert "Strict-Transport-Security" not in call(proxy, "GET", "/").headers


def test_half_a_certificate_is_refused_and_none_is_made(tmp_path: Path) -> None:
    given = certificate(tmp_path / "given", "localhost")
    (given / "privkey.pem").unlink()
    proxy = Nginx(tmp_path, "http://127.0.0.1:9", certificates=given)
    refused = proxy.prepare()
    assert refused.returncode == 2 and "both must exist and be non-empty" in refused.stderr


def test_the_self_signed_certificate_is_kept_for_its_name_and_its_key_is_secret(tmp_path: Path) -> None:
    proxy = Nginx(tmp_path, "http://127.0.0.1:9", PROXY_SERVER_NAME="sabueso.example")
    assert "browsers will warn" in proxy.prepare().stderr
    first = Path(proxy.certificate).read_bytes()
    assert (proxy.tls / "privkey.pem").stat().st_mode & 0o077 == 0
    assert proxy.prepare().returncode == 0 and Path(proxy.certificate).read_bytes() == first
    proxy.environment["PROXY_SERVER_NAME"] = "example.org"
    assert proxy.prepare().returncode == 0 and Path(proxy.certificate).read_bytes() != first


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "http://127.0.0.1:8080/", "http://127.0.0.1:8080/function", ""])
def test_a_gateway_address_that_would_send_calls_elsewhere_is_refused(tmp_path: Path, url: str) -> None:
    refused = Nginx(tmp_path, url).prepare()
    assert refused.returncode == 2 and "PROXY_GATEWAY_URL" in refused.stderr
