"""The reverse proxy for tests: nginx with the configuration of infra/nginx, calls to it, and an echo behind it."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import requests
from flask import Flask, Response, jsonify, request

from ports import free_port
from servers import ROOT, Server, program
from shapes import validate

NGINX_NEEDED = "no `nginx` in PATH or /usr/sbin; on Debian: apt install nginx-light"


def configure(home: Path, template: Path, variables: dict[str, str]) -> None:
    """Write home/nginx.conf from a template of infra/nginx, with ${NAME} replaced as in the image of nginx."""
    text = re.sub(r"\$\{([A-Z_]+)\}", lambda place: variables[place[1]], template.read_text())
    (home / "site.conf").write_text(text)
    # The settings of the image's nginx.conf, because a setting may appear only once; with folders of the test.
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (home / "nginx.conf").write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} worker_processes 1; daemon off; pid {home}/nginx.pid;\n"
        "events { worker_connections 1024; }\n"
        "http {\n  include /etc/nginx/mime.types; default_type application/octet-stream;\n"
        "  log_format main '$remote_addr - $remote_user [$time_local] $request $status $body_bytes_sent';\n"
        f"  access_log {home}/access.log main; sendfile on; keepalive_timeout 65;\n"
        + "".join(f"  {path}_temp_path {home}/{path};\n" for path in paths)
        + f"  include {home}/site.conf;\n}}\n"
    )


def nginx_command(home: Path) -> list[str]:
    return [program("nginx", NGINX_NEEDED), "-e", "stderr", "-p", str(home), "-c", str(home / "nginx.conf")]


class PlainGateway(Server):
    """The gateway of infra/containers.yaml. `functions`: host:port by name; `replicas`: URLs behind `replicas`."""

    def __init__(self, home: Path, functions: dict[str, str], replicas: list[str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        places = {f"GATEWAY_{name.upper().replace('-', '_')}": where for name, where in functions.items()}
        given = {"GATEWAY_PORT": f"127.0.0.1:{self.port}", "GATEWAY_RESOLVER": "127.0.0.1:9", **places}
        configure(home, ROOT / "infra" / "nginx" / "gateway" / "default.conf.template", given)
        if replicas:
            servers = " ".join(f"server {url.removeprefix('http://')};" for url in replicas)
            group = (home / "site.conf").read_text()
            (home / "site.conf").write_text(f"upstream replicas {{ {servers} }}\n{group}")
        super().__init__("gateway", nginx_command(home), {}, home)

    def ready(self) -> bool:
        return requests.get(f"{self.url}/healthz", timeout=5).text == "OK\n"


class Nginx(Server):
    """The reverse proxy (infra/nginx) in front of a gateway, configured and started as in nginx's image."""

    def __init__(self, home: Path, gateway_url: str, certificates: Path | None = None, **variables: str) -> None:
        self.http_port, self.port = free_port(), free_port()
        self.url, self.plain_url = f"https://localhost:{self.port}", f"http://localhost:{self.http_port}"
        self.tls = home / "tls"
        self.certificate = str(self.tls / "fullchain.pem")
        environment = {
            "PROXY_ADDRESS": "127.0.0.1",
            "PROXY_HTTP_PORT": str(self.http_port),
            "PROXY_HTTPS_PORT": str(self.port),
            "PROXY_SERVER_NAME": "localhost",
            "PROXY_GATEWAY_URL": gateway_url,
            "PROXY_CERTIFICATES": str(certificates or home / "none"),
            "PROXY_TLS": str(self.tls),
            "PROXY_SITE": str(ROOT / "static-site"),
            "PROXY_RATE": "1000r/s",
            "PROXY_CORS_ORIGINS": "",
            **variables,
        }
        configure(home, ROOT / "infra" / "nginx" / "templates" / "default.conf.template", environment)
        super().__init__("nginx", nginx_command(home), environment, home)

    def prepare(self) -> subprocess.CompletedProcess[str]:
        script = [str(ROOT / "infra" / "nginx" / "certificate.sh")]
        environment = {"PATH": os.environ["PATH"], **self.environment}
        return subprocess.run(script, env=environment, capture_output=True, text=True, check=False)

    def start(self, wait: bool = True) -> Server:
        prepared = self.prepare()
        assert prepared.returncode == 0, prepared.stderr
        return super().start(wait)

    def ready(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1):
            return True


def make_gateway() -> Flask:
    """Answers every call with the request that arrived, as a function that allows the page's origin.

    A path that ends with /answer/STATUS selects the status.
    """
    app = Flask("gateway")

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
    @app.route("/<path:path>", methods=["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
    def echo(path: str) -> Response:
        answer = jsonify(
            method=request.method,
            path=f"/{path}",
            raw=request.environ["RAW_URI"],
            headers={name.lower(): value for name, value in request.headers.items()},
            size=len(request.get_data()),
        )
        asked = re.search(r"/answer/(\d+)$", path)
        if asked:
            answer.status_code = int(asked[1])
        answer.headers["X-Request-Id"] = "the-function's"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        if "Origin" in request.headers:
            answer.headers["Access-Control-Allow-Origin"] = "the-function's"
        if answer.status_code == 503:
            answer.headers["Retry-After"] = "15"
        return answer

    return app


def call(proxy: Nginx, method: str, path: str, **options: Any) -> requests.Response:
    options = {"allow_redirects": False, "timeout": 30, "verify": proxy.certificate, **options}
    return requests.request(method, proxy.url + path, **options)  # noqa: S113 (in the options)


def problem_of(answer: requests.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = dict(answer.json())
    validate(body, "problem")
    assert (body["type"], body["status"]) == (f"urn:sabueso:problem:{kind}", status)
    assert re.fullmatch(r"[0-9a-f]{32}", body["request_id"])
    return body


def by_socket(proxy: Nginx, text: str) -> tuple[int, str]:
    """Status and body for a request that is sent verbatim."""
    context = ssl.create_default_context(cafile=proxy.certificate)
    with (
        socket.create_connection(("127.0.0.1", proxy.port), 30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as line,
    ):
        line.sendall(text.encode())
        got = b""
        while part := line.recv(65536):
            got += part
            if b'"errors": []}' in got:
                break
    head, _, body = got.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body
