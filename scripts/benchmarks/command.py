"""Measures how well trainings learn (quality), how fast classify answers beside its peers (classify), what a running
deployment carries (load), how long it is away (gap)."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import warnings
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import InsecureRequestWarning

from benchmarks.gap import longest_silence, runs, watch
from benchmarks.inputs import Input, serving
from benchmarks.load import measure
from benchmarks.table import print_table

COLUMNS = ("pipeline", "input", "clients", "calls", "per_second", "p50_ms", "p95_ms", "p99_ms", "errors")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    if argv[:1] == ["quality"]:  # these two need packages that the others do without
        return _quality(parser, commands, argv)
    if argv[:1] == ["classify"]:
        return _classify(parser, commands, argv)
    commands.add_parser("quality", help="accuracy, calibration, time and memory of trainings, beside their peers")
    commands.add_parser("classify", help="cold start, memory, throughput and times of classify, beside its peers")
    load = commands.add_parser("load", help="calls a second, times and errors of classify")
    load.add_argument("--clients", type=_numbers, default=[1, 8, 32], metavar="N,N", help="at once (default: 1,8,32)")
    load.add_argument("--seconds", type=float, default=10, help="for each measurement (default: 10; at most 300)")
    load.add_argument("--calls", type=int, default=50_000, help="most calls of one measurement (default: 50000)")
    load.add_argument("--pipelines", metavar="NAME,NAME", help="default: all that serve")
    load.add_argument("--picture", type=Path, action="append", default=[], metavar="FILE", help="one's own; repeatable")
    gap = commands.add_parser("gap", help="a GET every 50 ms, for a redeployment: runs of equal answers")
    for one in (load, gap):
        one.add_argument("url", metavar="URL", help="of the door or the gateway")
        one.add_argument("--json", action="store_true", help="one JSON object for programs")
        one.add_argument("--insecure", action="store_true", help="let a self-signed certificate pass")
        one.add_argument("--anywhere", action="store_true", help="let a URL pass that is not of this machine")
    gap.add_argument("path", metavar="PATH", help="e.g. /function/classify/")
    gap.add_argument("seconds", metavar="SECONDS", type=float)
    given = parser.parse_args(argv)
    _check(parser, given)
    if given.insecure:
        warnings.simplefilter("ignore", InsecureRequestWarning)
    return _load(given) if given.command == "load" else _gap(given)


def _quality(parser: argparse.ArgumentParser, commands: Any, argv: list[str]) -> int:
    from benchmarks import quality

    told = "Accuracy, calibration, time and memory of trainings on the shared data, beside their peers."
    quality.add_arguments(commands.add_parser("quality", description=told))
    return quality.run(parser.parse_args(argv))


def _classify(parser: argparse.ArgumentParser, commands: Any, argv: list[str]) -> int:
    from benchmarks import classify

    told = "Cold start, memory, throughput and times of classify, beside its peers and the floor with no HTTP."
    classify.add_arguments(commands.add_parser("classify", description=told))
    return classify.run(parser.parse_args(argv))


def _numbers(text: str) -> list[int]:
    found = [int(part) for part in text.split(",")]
    if not found or not all(1 <= number <= 256 for number in found):
        raise argparse.ArgumentTypeError(f"{text}: numbers from 1 to 256")
    return found


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """What would be a mistake, before the first call."""
    parts = urlsplit(given.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        parser.error(f"{given.url}: begin it with http:// or https://")
    if not given.anywhere and not is_own(parts.hostname):
        parser.error(f"{parts.hostname} is not this machine; --anywhere if it is yours all the same")
    if not 0 < given.seconds <= 300:
        parser.error(f"{given.seconds:g} seconds: more than 0 and at most 300")
    for file in getattr(given, "picture", []):
        if not file.is_file():
            parser.error(f"no file {file}")


def is_own(host: str) -> bool:
    """True if every address of that name is loopback, or a private one that this machine has itself."""
    try:
        found = {str(one[4][0]).partition("%")[0] for one in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return all(ip_address(one).is_loopback or (ip_address(one).is_private and _is_here(one)) for one in found)


def _is_here(address: str) -> bool:
    """Only an address of this machine can be bound."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return not ip_address(address).is_unspecified


def _load(given: argparse.Namespace) -> int:
    wanted = given.pipelines.split(",") if given.pipelines else None
    try:
        inputs = serving(given.url, not given.insecure, wanted, given.picture)
    except (requests.RequestException, KeyError, ValueError) as error:
        print(f"! {given.url} does not answer as classify does: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if not inputs:
        print("! no pipeline with such a name serves: GET /function/classify/ says which do", file=sys.stderr)
        return 1
    measures = []
    for one in inputs:
        for clients in given.clients:
            print(f"    {one.pipeline}, {one.name}, {clients} clients ...", file=sys.stderr, flush=True)
            measures.append(_measured(one, clients, given))
    if given.json:
        print(json.dumps({"url": given.url, "cores_here": os.cpu_count(), "measures": measures}))
    else:
        print_table(COLUMNS, [[found[column] for column in COLUMNS] for found in measures])
        for found in measures:
            if found["errors"]:
                print(f"! {found['pipeline']}, {found['input']}, {found['clients']} clients: {found['statuses']}")
        print("per_second and times are those of answers with 200; this program works on its own machine's cores.")
    return 0


def _measured(one: Input, clients: int, given: argparse.Namespace) -> dict[str, Any]:
    measure(given.url, one, clients, min(1, given.seconds / 5), given.calls, not given.insecure)  # warm-up
    found = measure(given.url, one, clients, given.seconds, given.calls, not given.insecure)
    return {"pipeline": one.pipeline, "input": one.name, "clients": clients, **found}


def _gap(given: argparse.Namespace) -> int:
    calls = watch(given.url.rstrip("/") + given.path, given.seconds, not given.insecure)
    found, silence = runs(calls), longest_silence(calls)
    if given.json:
        print(json.dumps({"url": given.url, "path": given.path, "longest_silence_s": silence, "runs": found}))
    else:
        print_table(tuple(found[0]), [list(one.values()) for one in found])
        print(f"longest time without an answer of 2xx: {silence:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
