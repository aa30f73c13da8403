"""scripts/bench classify: the client it loads with, its bars, a short run on tiny bundles. No speed is asserted."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.bars import bars, medians
from benchmarks.champions import Champions
from benchmarks.charts import draw_growth
from benchmarks.classify_peers import Peers
from benchmarks.generator import Generator
from benchmarks.peer_environments import NotInstalled
from benchmarks.peer_list import PEERS
from benchmarks.probes import Probe
from benchmarks.served import NotServing
from benchmarks.serving_theirs import FORMS, READERS, apart
from benchmarks.wire import Answer, Disconnected, NotHttp, Wire, read_answer, request_bytes

HEAD = b"HTTP/1.1 200 OK\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nok"


def reading(*pieces: bytes) -> Answer:
    """What is read of an answer that comes in these pieces, after which the connection ends."""
    rest = list(pieces)
    return read_answer(lambda _: rest.pop(0) if rest else b"")


@pytest.mark.parametrize(
    ("pieces", "body", "keeps"),
    [
        ((OK,), b"ok", True),
        ([bytes([one]) for one in OK], b"ok", True),
        ((HEAD + b"content-LENGTH:0\r\n\r\n",), b"", True),
        ((HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n", b"o", b"k"), b"ok", False),
        ((HEAD + b"X: y\r\n\r\n", b"until ", b"the end"), b"until the end", False),
        ((b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",), b"ok", False),
        ((b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok",), b"ok", True),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" + OK,), b"ok", True),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",), b"ok", True),
        (
            (
                HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n3;a=b\r",
                b"\nabc\r\nA",
                b"\r\n0123456789\r\n0\r\n",
                b"T: x\r\n\r",
                b"\n",
            ),
            b"abc0123456789",
            True,
        ),
    ],
)
def test_an_answer_ends_where_its_headers_say(pieces: Any, body: bytes, keeps: bool) -> None:
    assert reading(*pieces) == Answer(200, body, keeps)


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ((), Disconnected),
        ((HEAD,), Disconnected),
        ((HEAD + b"Content-Length: 3\r\n\r\nok",), Disconnected),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nok",), Disconnected),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\nmany\r\nok",), NotHttp),
        ((OK + b"and more",), NotHttp),
        ((b"SSH-2.0-OpenSSH\r\n\r\n",), NotHttp),
        ((b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,), NotHttp),
    ],
)
def test_what_is_no_whole_answer_is_an_error(pieces: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        reading(*pieces)


class Scripted:
    """A server that answers the calls of each connection as it is told, then closes it; `calls` of each."""

    def __init__(self, *connections: list[bytes]) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.calls: list[int] = []
        self.thread = threading.Thread(target=self._serve, args=(connections,), daemon=True)
        self.thread.start()

    def _serve(self, connections: tuple[list[bytes], ...]) -> None:
        for answers in connections:
            connection, _ = self.listening.accept()
            with connection:
                self.calls.append(0)
                for answer in answers:
                    while not connection.recv(1 << 16).endswith(b"body"):
                        pass
                    self.calls[-1] += 1
                    connection.sendall(answer)


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    servers: list[Scripted] = []

    def start(*connections: list[bytes]) -> Scripted:
        servers.append(Scripted(*connections))
        return servers[-1]

    yield start
    for server in servers:
        server.thread.join(20)
        server.listening.close()


def test_a_connection_is_kept_as_long_as_the_server_keeps_it(scripted: Callable[..., Scripted]) -> None:
    closing = HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok"
    server = scripted([OK, OK, closing], [OK], [OK])
    wire, request = Wire(server.url, 20), request_bytes(server.url, "/path", b"body", "text/plain")
    for _ in range(4):  # after the third it opens another by itself
        assert wire.call(request).body == b"ok"
    with pytest.raises(OSError, match=r"it ended before|reset|Broken pipe"):  # this one was closed with no word
        wire.call(request)
    assert wire.call(request).status == 200
    wire.close()
    server.thread.join(20)
    assert server.calls == [3, 1, 1]


def test_the_load_generator_counts_what_is_no_answer(scripted: Callable[..., Scripted]) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    server = scripted([OK, busy])
    with Generator() as generator:
        request = request_bytes(server.url, "/", b"body", "text/plain")
        told = generator.measure(server.url, request, 1, 20, calls=3)
    lost = {name: number for name, number in told["statuses"].items() if not name.isdigit()}
    assert (told["calls"], told["errors"], told["body"]) == (3, 2, "ok")
    assert (told["statuses"]["200"], told["statuses"]["503"], sum(lost.values())) == (1, 1, 1)


def test_medians_are_those_of_the_rounds_that_have_a_figure() -> None:
    rounds = [{"a": 1.0, "told": "x"}, {"a": 9.0, "b": 4}, {"a": 2.0, "b": None, "told": "y"}]
    assert medians(rounds) == {"a": 2.0, "told": "y", "b": 4}


def test_bars_are_ratios_of_one_run() -> None:
    ours = {"rps_c8": 300, "cpu_ms_c8": 6, "p50_ms_c8": 10, "p99_ms_c8": 31, "cold_s": 0.5, "pss_mb": 80}
    found: dict[str, Any] = {
        "image": {
            "ours": {**ours, "cold_mlflow_s": 1.1, "peak_12mp_mb": 9},
            "floor": {"rps": 400, "cpu_ms": 3},
            "mlflow": {"rps_c8": 3},
            "a": {"rps_c8": 150},
            "a_tuned": {"rps_c8": 250},
        },
        "tabular": {"ours": {**ours, "cold_s": 0.8, "cold_mlflow_s": 1.0}, "floor": {"rps": 9000, "cpu_ms": 0.1}},
        "bulk": {"rows_per_s": 60_000},
    }
    judged = [(bar.figure, bar.met) for bar in bars(found)]
    assert judged[:4] == [(100, True), (1.2, False), (2, True), (3.1, False)]
    assert judged[4:6] == [(None, None), (None, None)]  # no peer was measured with rows
    assert judged[6:] == [(60_000, True), (0.8, False), (1.1, True), (80, False), (9, True), (None, None)]


@pytest.fixture
def probe() -> Probe:
    contract = {"kind": "tabular", "labels": [{"value": "no"}, {"value": "yes"}]}
    return Probe("p", contract, np.array([[0.5, 1.0]], "float32"), np.array([0.25, 0.75]), b"{}", b"{}", "yes")


def test_peers_get_the_encoded_row_and_are_understood(probe: Probe) -> None:
    assert {how.form for peer in PEERS for how in (peer.default, *peer.tuned)} <= FORMS.keys() == READERS.keys()
    sent = {form: json.loads(write(probe, probe.usual)[2]) for form, write in FORMS.items()}
    assert sent["raw"] == [0.5, 1.0]
    assert sent["mlflow"] == {"inputs": [[0.5, 1.0]]}
    assert sent["v2"]["inputs"][0]["data"] == [0.5, 1.0]
    shares = [{"name": "label", "data": ["yes"]}, {"name": "probabilities", "data": [0.25, 0.75]}]
    answers = {
        "raw": {"label": "yes", "probabilities": {"yes": 0.75, "no": 0.25}},
        "mlflow": {"predictions": {"probabilities": [[0.25, 0.75]], "novelty": [1.0]}},
        "v2": {"outputs": shares},
    }
    for form, answer in answers.items():
        assert READERS[form](answer, probe.labels) == ("yes", [0.25, 0.75])


def test_a_peer_that_answers_wrong_is_not_measured(probe: Probe) -> None:
    assert apart([0.2505, 0.7495], probe.probabilities, 1e-3) == pytest.approx(5e-4)
    for wrong in ([0.25, 0.752], [0.25], [float("nan"), 0.75]):
        with pytest.raises(NotServing, match="answers wrong"):
            apart(wrong, probe.probabilities, 1e-3)


def test_a_peer_that_cannot_be_installed_is_left_out_with_its_reason(
    probe: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(name: str, packages: Any) -> Path:
        raise NotInstalled(f"no {name} here")

    monkeypatch.setattr("benchmarks.classify_peers.install", install)
    saved = tmp_path / "p" / "saved"
    saved.mkdir(parents=True)
    (saved / "saved_model.pb").touch()
    champions = Champions(tmp_path, ["p"], [], "made up")
    peers = Peers(tmp_path / "work", champions, {"tabular": probe}, Generator(), 1, lambda line: None)
    peers.make_ready([one for one in PEERS if one.name in ("flask_keras", "bentoml_onnx")])
    assert peers.of("tabular") == []
    assert peers.left_out["flask_keras"] == "no flask_keras here"
    assert peers.left_out["bentoml_onnx"] == "no onnx_export here"


def test_growth_is_drawn_for_light_and_dark_pages(tmp_path: Path) -> None:
    found: dict[str, list[dict[str, Any]]] = {
        "picture_size": [{"megapixels": 0.02 * 10**n, "p50_ms": 2.0**n, "p99_ms": 3.0**n} for n in range(3)],
        "rows_a_call": [{"rows": 10**n, "rows_per_s": 900.0 * 5**n} for n in range(3)],
        "pipelines": [{"pipelines": 2**n, "pss_mb": 60.0 + n, "cold_s": 0.5 + n} for n in range(3)],
        "replicas": [{"replicas": n, "cores": 2, "image_rps_c8": 9.0 * n, "tabular_rps_c8": 80.0 * n} for n in (1, 2)],
    }
    for path in draw_growth(found, tmp_path):
        text = path.read_text()
        assert "<svg" in text
        assert "#000000" not in text  # neither black ink nor a white ground: both would vanish on some page
        assert "#ffffff" not in text
    assert len(list(tmp_path.glob("*.svg"))) == 5
