"""Measures a running deployment: calls per second, latency and errors of classify, through reverse proxy or gateway.

With --overload: what ten times as many clients as it carries are answered, and whether it is as fast afterwards.
"""

from __future__ import annotations

import argparse
import json
import mimetypes
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from benchmarks.arguments import names, whole_number
from benchmarks.output import log, print_table
from benchmarks.overload import exit_code, overload, report
from benchmarks.wrk import WARM_UP_S, MeasurementFailed, find_wrk, load
from common.redaction import redact, shown_url
from deployment.smoke import TIMEOUT_S, example_row, make_picture

COLUMNS = ("pipeline", "input", "clients", "calls", "calls_per_s", "p50_ms", "p95_ms", "p99_ms", "errors")
ROWS = 1000
CLIENTS, SECONDS = [1, 8, 32], 10
FULL_CLIENTS, OVERLOAD_S = 32, 60  # two workers of SABUESO_CALLS
SIZES = ((160, 160), (4000, 3000))  # 12 megapixels: the largest PNG that classify accepts


def main(argv: list[str]) -> int:
    """Exit code 0: success; 1: no such pipeline answers, or a limit fails; 2: wrong arguments, or wrk is missing."""
    parser = argparse.ArgumentParser(prog="scripts/bench load", description=__doc__)
    parser.add_argument(
        "url", metavar="URL", help="of the reverse proxy or the gateway; its certificate is not verified"
    )
    parser.add_argument("--overload", action="store_true", help="full load, ten times as many clients, and full load")
    parser.add_argument(
        "--clients",
        type=_clients,
        metavar="N,N",
        help="concurrent clients (1,8,32); with --overload: one number, those of full load (32: as many calls as two "
        "workers take)",
    )
    parser.add_argument(
        "--seconds", type=whole_number(1, 300), help="per measurement (10); with --overload: of the overload (60)"
    )
    parser.add_argument(
        "--queue-s", type=float, default=2, metavar="S", help="with --overload: SABUESO_QUEUE_S of the function (2)"
    )
    parser.add_argument("--pipelines", type=names(), metavar="NAME,NAME", help="default: all with a champion")
    parser.add_argument(
        "--picture", type=Path, action="append", default=[], metavar="FILE", help="your own picture; repeatable"
    )
    parser.add_argument("--direct", action="store_true", help="URL is that of the function itself, without a gateway")
    parser.add_argument("--json", action="store_true", help="one JSON object for programs")
    parser.add_argument("--anywhere", action="store_true", help="allow a URL of another machine")
    given = parser.parse_args(argv)
    parts = urlsplit(given.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        parser.error(f"{shown_url(given.url)}: must begin with http:// or https://")
    if not given.anywhere and not is_local(parts.hostname):
        parser.error(f"{parts.hostname} is not this machine; if it is yours, add --anywhere")
    given.clients = given.clients or ([FULL_CLIENTS] if given.overload else CLIENTS)
    given.seconds = given.seconds or (OVERLOAD_S if given.overload else SECONDS)
    if given.overload and len(given.clients) != 1:
        parser.error("--overload takes one number of --clients")
    if missing := [file for file in given.picture if not file.is_file()]:
        parser.error(f"no file {missing[0]}")
    try:
        if given.overload:
            return _overload(given)
        find_wrk()
        measures = _measure(given)
    except MeasurementFailed as error:
        log(f"! {error}")
        return 2
    except (requests.RequestException, LookupError, ValueError) as error:
        log(f"! {shown_url(given.url)} does not answer like classify: {type(error).__name__}: {redact(str(error))}")
        return 1
    if given.json:
        print(json.dumps({"url": shown_url(given.url), "cores_here": os.cpu_count(), "measures": measures}))
        return 0
    print_table(COLUMNS, [[measure[column] for column in COLUMNS] for measure in measures])
    for measure in measures:
        if measure["errors"] or not measure["calls"]:
            why = measure["failed"] or "no answer"
            print(f"! {measure['pipeline']}, {measure['input']}, {measure['clients']} clients: {why}")
    print("calls_per_s counts answers without an error; times are of all answers. wrk uses this machine's cores too.")
    return 0


def _clients(text: str) -> list[int]:
    return [whole_number(1, 256)(part) for part in text.split(",")]


def is_local(host: str) -> bool:
    """True if all addresses of the name can be bound: only addresses of this machine can."""
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM):
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind(address)
    except OSError:
        return False
    return True


def _measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Raises RequestException, LookupError or ValueError if another server answers, or no pipeline has a champion."""
    measures = []
    for name, url, inputs in _pipelines(given):
        for kind, body, content_type in inputs:
            for clients in given.clients:
                log(f"    {name}, {kind}, {clients} clients ...")
                load(url, body, content_type, clients, WARM_UP_S)
                figures = load(url, body, content_type, clients, given.seconds)
                measures.append({"pipeline": name, "input": kind, "clients": clients, **figures})
    return measures


def _overload(given: argparse.Namespace) -> int:
    """Measure the first input of each pipeline; the exit code. Raises as `_measure`, and OSError."""
    measured = [
        overload(name, kind, url, body, content_type, given.clients[0], given.seconds, given.queue_s)
        for name, url, inputs in _pipelines(given)
        for kind, body, content_type in inputs[:1]
    ]
    if not given.json:
        return report(measured)
    print(json.dumps({"url": given.url, "cores_here": os.cpu_count(), "overload": [one.as_dict() for one in measured]}))
    return exit_code(measured)


def _pipelines(given: argparse.Namespace) -> Iterator[tuple[str, str, list[tuple[str, bytes, str]]]]:
    """Name, URL and inputs of each pipeline with a champion. Raises LookupError if there is none."""
    index, found = given.url.rstrip("/") + ("/" if given.direct else "/function/classify/"), False
    for pipeline in _get(index)["pipelines"]:
        name = pipeline["name"]
        if pipeline["ready"] and name in (given.pipelines or [name]):
            found = True
            yield name, index + name, _inputs(_get(index + name), given.picture)
    if not found:
        raise LookupError(f"none of these pipelines has a champion; see GET {index}")


def _inputs(card: dict[str, Any], pictures: Sequence[Path]) -> list[tuple[str, bytes, str]]:
    """Name, body and content type: rows from the card's examples; made-up or given pictures."""
    if card["kind"] == "tabular":
        row = example_row(card)
        rows = {"1 row": row, f"{ROWS} rows": [row] * ROWS}
        return [(name, json.dumps(body).encode(), "application/json") for name, body in rows.items()]
    if not pictures:
        return [(f"PNG, {width} x {height}", make_picture(width, height), "image/png") for width, height in SIZES]
    types = {file: mimetypes.guess_type(file)[0] or "application/octet-stream" for file in pictures}
    return [(file.name, file.read_bytes(), content_type) for file, content_type in types.items()]


def _get(url: str) -> dict[str, Any]:
    """Certificates are not verified, as in wrk."""
    urllib3.disable_warnings()
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, timeout=TIMEOUT_S, allow_redirects=False, verify=False)
    answer.raise_for_status()
    return dict(answer.json())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
