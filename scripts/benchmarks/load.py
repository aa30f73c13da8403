"""What a running deployment carries: calls a second, times and errors of classify behind its door or gateway."""

from __future__ import annotations

import argparse
import json
import mimetypes
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from benchmarks.arguments import names, whole_number
from benchmarks.telling import print_table, tell
from benchmarks.wrk import WARM_UP_S, Unmeasured, find_wrk, load
from deployment.smoke import TIMEOUT_S, a_picture, example_row

COLUMNS = ("pipeline", "input", "clients", "calls", "calls_per_s", "p50_ms", "p95_ms", "p99_ms", "errors")
ROWS = 1000
SIZES = ((160, 160), (4000, 3000))  # the large one: 12 megapixels, the most that classify takes of a PNG


def main(argv: list[str]) -> int:
    """0: measured; 1: no such pipeline answers; 2: the arguments are wrong, or there is no wrk."""
    parser = argparse.ArgumentParser(prog="scripts/bench load", description=__doc__)
    parser.add_argument("url", metavar="URL", help="of the door or the gateway; its certificate is not checked")
    parser.add_argument("--clients", type=_clients, default=[1, 8, 32], metavar="N,N", help="at once (1,8,32)")
    parser.add_argument("--seconds", type=whole_number(1, 300), default=10, help="for each measurement (10)")
    parser.add_argument("--pipelines", type=names(), metavar="NAME,NAME", help="default: all that serve")
    parser.add_argument("--picture", type=Path, action="append", default=[], metavar="FILE", help="own; repeatable")
    parser.add_argument("--json", action="store_true", help="one JSON object for programs")
    parser.add_argument("--anywhere", action="store_true", help="let a URL pass that is not of this machine")
    given = parser.parse_args(argv)
    parts = urlsplit(given.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        parser.error(f"{given.url}: begin it with http:// or https://")
    if not given.anywhere and not is_own(parts.hostname):
        parser.error(f"{parts.hostname} is not this machine; --anywhere if it is yours all the same")
    if missing := [file for file in given.picture if not file.is_file()]:
        parser.error(f"no file {missing[0]}")
    try:
        find_wrk()
        measures = _measure(given)
    except Unmeasured as error:
        tell(f"! {error}")
        return 2
    except (requests.RequestException, LookupError, ValueError) as error:
        tell(f"! {given.url} does not answer as classify does: {type(error).__name__}: {error}")
        return 1
    if given.json:
        print(json.dumps({"url": given.url, "cores_here": os.cpu_count(), "measures": measures}))
        return 0
    print_table(COLUMNS, [[measure[column] for column in COLUMNS] for measure in measures])
    for measure in measures:
        if measure["errors"] or not measure["calls"]:
            why = measure["failed"] or "no answer"
            print(f"! {measure['pipeline']}, {measure['input']}, {measure['clients']} clients: {why}")
    print("calls_per_s: answered without an error; times: of all answers. wrk works on this machine's cores too.")
    return 0


def _clients(text: str) -> list[int]:
    return [whole_number(1, 256)(part) for part in text.split(",")]


def is_own(host: str) -> bool:
    """True if all addresses of that name can be bound, as only those of this machine can."""
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM):
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind(address)
    except OSError:
        return False
    return True


def _measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Raises RequestException, LookupError, ValueError where something else answers, or no such pipeline serves."""
    index = f"{given.url.rstrip('/')}/function/classify/"
    measures = []
    for pipeline in _get(index)["pipelines"]:
        name = pipeline["name"]
        if pipeline["ready"] and name in (given.pipelines or [name]):
            for kind, body, content_type in _inputs(_get(index + name), given.picture):
                for clients in given.clients:
                    tell(f"    {name}, {kind}, {clients} clients ...")
                    load(index + name, body, content_type, clients, WARM_UP_S)
                    figures = load(index + name, body, content_type, clients, given.seconds)
                    measures.append({"pipeline": name, "input": kind, "clients": clients, **figures})
    if not measures:
        raise LookupError(f"of those pipelines none serves; GET {index} says which do")
    return measures


def _inputs(card: dict[str, Any], pictures: Sequence[Path]) -> list[tuple[str, bytes, str]]:
    """Name, body and content type: rows of the card's examples, pictures that are made up or one's own."""
    if card["kind"] == "tabular":
        row = example_row(card)
        rows = {"1 row": row, f"{ROWS} rows": [row] * ROWS}
        return [(name, json.dumps(body).encode(), "application/json") for name, body in rows.items()]
    if not pictures:
        return [(f"PNG, {width} x {height}", a_picture(width, height), "image/png") for width, height in SIZES]
    types = {file: mimetypes.guess_type(file)[0] or "application/octet-stream" for file in pictures}
    return [(file.name, file.read_bytes(), content_type) for file, content_type in types.items()]


def _get(url: str) -> dict[str, Any]:
    """wrk checks no certificate; nor does this."""
    urllib3.disable_warnings()
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, timeout=TIMEOUT_S, allow_redirects=False, verify=False)
    answer.raise_for_status()
    return dict(answer.json())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
