"""What slow clients can hold: bytes in temporary files of a real nginx, calls of a function, places of others.

`-s` prints the figures of docs/reverse-proxy.md.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
import requests
import yaml
from flask import Flask, Response, request

from conftest import Served
from reverse_proxy import Nginx, PlainGateway, call, problem_of
from servers import ROOT, Server

pytestmark = [pytest.mark.integration, pytest.mark.full]
MB = 1_000_000
BODY = 20 * MB
# As in the template.
UPLOADS, BULK, ANSWER_FILE = 8, 2, 64 * 1024**2
# nginx has at most this much of a body or an answer in memory instead of in its file.
BUFFERS = 128 * 1024
WAIT_S = 45  # shorter than the minute after which nginx would cut off by itself


class Function:
    """An app behind the proxy; `/MB` answers with that many MB. Counts bytes, and answers that it could send whole."""

    def __init__(self) -> None:
        self.received, self.sent = 0, 0
        app = Flask("function")

        @app.route("/<path:path>", methods=["GET", "POST"])
        def serve(path: str) -> Response:
            size = 0
            while chunk := request.stream.read(65_536):
                size += len(chunk)
                self.received += len(chunk)
            last = path.rsplit("/", 1)[-1]
            if not last.isdigit():
                return Response(str(size))

            def answer() -> Iterator[bytes]:
                for _ in range(int(last)):
                    yield bytes(MB)
                self.sent += 1

            return Response(answer(), mimetype="text/csv")

        self.served = Served(app)


@pytest.fixture
def function() -> Iterator[Function]:
    made = Function()
    yield made
    made.served.stop()


@pytest.fixture
def proxy(function: Function, tmp_path: Path) -> Iterator[Nginx]:
    with Nginx(tmp_path, function.served.url) as started:
        assert isinstance(started, Nginx)
        yield started


def temporary_bytes(server: Server) -> int:
    """Bytes in temporary files of nginx. Only its open descriptors show them: the files have no name any more."""
    assert server.process is not None
    main, total = psutil.Process(server.process.pid), 0
    for process in (main, *main.children()):
        for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if re.match(rf"{server.home}/(client_body|proxy)/", str(descriptor.readlink())):
                    total += descriptor.stat().st_size
    return total


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, "this never came true"
        time.sleep(0.1)


class Client:
    """A TLS connection to the proxy from one address. Its small receive buffer leaves unread answers in nginx."""

    def __init__(self, proxy: Nginx, address: str) -> None:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(WAIT_S)
        plain.bind((address, 0))
        plain.connect(("127.0.0.1", proxy.port))
        context = ssl.create_default_context(cafile=proxy.certificate)
        self.line = context.wrap_socket(plain, server_hostname="localhost")

    def post(self, path: str, size: int, content_type: str) -> int:
        """Announce a body; returns 100 if the proxy wants it, otherwise the status of its refusal."""
        head = f"POST /function/classify/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        self.line.sendall(f"{head}Content-Length: {size}\r\nExpect: 100-continue\r\n\r\n".encode())
        return self.status()

    def status(self) -> int:
        got = b""
        while b"\r\n" not in got:
            part = self.line.recv(1)
            assert part, "closed without an answer"
            got += part
        status = int(got.split()[1])
        if status == 100:
            assert self.line.recv(2) == b"\r\n"
        return status

    def rest(self) -> int:
        """Bytes that still arrive before the connection ends."""
        size = 0
        try:
            while part := self.line.recv(65_536):
                size += len(part)
        except (ConnectionResetError, ssl.SSLError):
            pass
        return size


def accepted(clients: list[Client], path: str, size: int, content_type: str) -> list[Client]:
    """Those of the clients whose body is wanted. The others must be refused with 429."""
    statuses = [(client, client.post(path, size, content_type)) for client in clients]
    assert {status for _, status in statuses} <= {100, 429}
    return [client for client, status in statuses if status == 100]


@pytest.fixture
def open_clients(proxy: Nginx) -> Iterator[Callable[[int, str], list[Client]]]:
    with ExitStack() as stack:

        def start(number: int, address: str) -> list[Client]:
            clients = [Client(proxy, address) for _ in range(number)]
            for client in clients:
                stack.callback(client.line.close)
            return clients

        yield start


Open = Callable[[int, str], list[Client]]


def test_uploads_held_open_by_one_address_are_bounded_and_cut_off(
    proxy: Nginx, open_clients: Open, function: Function
) -> None:
    slow = accepted(open_clients(30, "127.0.0.2"), "pets", BODY, "image/jpeg")
    assert len(slow) == UPLOADS
    for client in slow:
        client.line.sendall(bytes(BODY - 1))
    wait_until(lambda: temporary_bytes(proxy) >= UPLOADS * (BODY - BUFFERS))
    held = temporary_bytes(proxy)
    print(f"\n30 uploads of 20 MB held open: {len(slow)} accepted, {held / MB:.0f} MB in files")
    assert held <= UPLOADS * BODY and function.received == 0
    # Others work, and the address itself may still read.
    (other,) = open_clients(1, "127.0.0.1")
    assert other.post("pets", BODY, "image/jpeg") == 100
    other.line.sendall(bytes(BODY))
    assert other.status() == 200 and function.received == BODY
    (reader,) = open_clients(1, "127.0.0.2")
    reader.line.sendall(b"GET /function/classify/pets HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert reader.status() == 200
    # They are cut off without an answer, and their bytes are gone.
    assert [client.rest() for client in slow] == [0] * UPLOADS
    wait_until(lambda: temporary_bytes(proxy) == 0)
    (again,) = accepted(open_clients(1, "127.0.0.2"), "pets", 1, "image/jpeg")
    again.line.sendall(b"x")
    assert again.status() == 200


def test_answers_read_slowly_by_one_address_are_bounded_and_cut_off(
    proxy: Nginx, open_clients: Open, function: Function
) -> None:
    """127.0.0.2 sends rows in bulk; 127.0.0.3 sends fewer rows in each call. Neither reads."""
    bulk = accepted(open_clients(32, "127.0.0.2"), "covertype/150", 2 * MB, "text/csv")
    assert len(bulk) == BULK
    for client in bulk:
        client.line.sendall(bytes(2 * MB))
        assert client.status() == 200
    wait_until(lambda: temporary_bytes(proxy) >= BULK * (ANSWER_FILE - BUFFERS))
    held = temporary_bytes(proxy)
    print(f"\n32 answers of 150 MB read slowly: {len(bulk)} accepted, {held / MB:.0f} MB in files")
    assert held <= BULK * (2 * MB + ANSWER_FILE + BUFFERS) and function.sent == 0

    short = accepted(open_clients(32, "127.0.0.3"), "covertype/7", MB - 1, "text/csv")
    assert len(short) == UPLOADS
    for client in short:
        client.line.sendall(bytes(MB - 1))
        assert client.status() == 200
    # Slow readers of what a call below 1 MB can get hold nothing of the function.
    wait_until(lambda: function.sent == UPLOADS)
    more = temporary_bytes(proxy) - held
    print(f"32 answers of 7 MB read slowly: {len(short)} accepted, {more / MB:.0f} MB in files")
    assert more <= UPLOADS * 8 * MB
    # Others get theirs, bulk too.
    assert len(call(proxy, "POST", "/function/classify/covertype/20", data=bytes(2 * MB)).content) == 20 * MB
    assert call(proxy, "POST", "/function/classify/pets", data=b"x").text == "1"

    wait_until(lambda: temporary_bytes(proxy) == 0)
    assert all(client.rest() < 150 * MB for client in bulk)
    assert all(client.rest() < 7 * MB for client in short)
    (again,) = accepted(open_clients(1, "127.0.0.2"), "pets", MB, "text/csv")
    again.line.sendall(bytes(MB))
    assert again.status() == 200


@pytest.mark.parametrize(
    ("content_type", "length", "counts"),
    [
        ("text/csv", f"Content-Length: {MB}", True),
        ("text/csv", f"Content-Length: {MB - 1}", False),
        ("application/json", "Transfer-Encoding: chunked", True),
        ("image/png", f"Content-Length: {BODY}", False),
        ("Multipart/form-data; boundary=x", f"Content-Length: {BODY}", False),
        ("a image/png", f"Content-Length: {BODY}", True),
    ],
)
def test_rows_in_bulk_are_counted_apart(
    proxy: Nginx, open_clients: Open, content_type: str, length: str, counts: bool
) -> None:
    head = f"POST /function/classify/pets HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n{length}\r\n"
    statuses = []
    for client in open_clients(BULK + 1, "127.0.0.2"):
        client.line.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        statuses.append(client.status())
    assert statuses == [100] * BULK + [429 if counts else 100]


def test_a_refused_upload_is_a_problem(proxy: Nginx, open_clients: Open) -> None:
    assert len(accepted(open_clients(UPLOADS, "127.0.0.1"), "pets", BODY, "image/jpeg")) == UPLOADS
    refused = call(proxy, "POST", "/function/classify/pets", data=b"x")
    assert "at once" in problem_of(refused, 429, "too-many-requests")["detail"]
    assert refused.headers["Retry-After"] == "1"


def test_two_addresses_do_not_fill_the_folder_of_temporary_files() -> None:
    """It lies in memory, which the container has, in compose and on Kubernetes."""
    most = 2 * (BULK * (BODY + ANSWER_FILE) + (UPLOADS - BULK) * BODY)
    nginx = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())["services"]["nginx"]
    (folder,) = (one for one in nginx["tmpfs"] if one.startswith("/var/cache/nginx:"))
    file = ROOT / "infra" / "openfaas" / "kubernetes" / "reverse-proxy.yaml"
    (deployment,) = (one for one in yaml.safe_load_all(file.read_text()) if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (volume,) = (one["emptyDir"] for one in pod["volumes"] if one["name"] == "temporary")
    assert volume["medium"] == "Memory"
    for size, memory in (
        (folder.partition("size=")[2], nginx["mem_limit"]),
        (volume["sizeLimit"], pod["containers"][0]["resources"]["limits"]["memory"]),
    ):
        assert most <= size_of(size) <= size_of(memory) - 256 * 1024**2


def size_of(text: str) -> int:
    """640m of compose and 640Mi of Kubernetes in bytes."""
    number, unit = re.fullmatch(r"(\d+)([mgMG])i?", text).groups()  # type: ignore[union-attr]
    return int(number) * {"m": 1024**2, "g": 1024**3}[unit.lower()]


def test_the_plain_gateway_keeps_no_temporary_files(function: Function, tmp_path: Path) -> None:
    address = function.served.url.removeprefix("http://")
    with PlainGateway(tmp_path, dict.fromkeys(("fetch-batch", "train", "classify"), address)) as gateway:
        assert isinstance(gateway, PlainGateway)
        with socket.create_connection(("127.0.0.1", gateway.port), WAIT_S) as line:
            head = f"POST /function/classify/pets HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n"
            line.sendall(head.encode() + bytes(BODY - 1))
            wait_until(lambda: function.received >= BODY - 65_536)  # it passes on what it has
            assert temporary_bytes(gateway) == 0
        with requests.get(f"{gateway.url}/function/classify/covertype/60", stream=True, timeout=WAIT_S) as answer:
            for _ in range(60):
                assert len(answer.raw.read(MB)) == MB
                assert temporary_bytes(gateway) == 0
