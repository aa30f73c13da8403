"""The demo: start everything, collect, train both pipelines, classify, tell the addresses, keep serving."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.demo_data import DemoData
from local.journey import Journey, PipelineFailed, nothing_yet, say
from local.system import CannotStart, System

# Made-up data are easy: they need seconds where real data get the budget of their pipeline file.
MADE_UP_BUDGET_S = {"covertype": 20, "pets": 50}


def read_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="end after the predictions, with 0 or 1; last line is JSON"
    )
    parser.add_argument("--home", type=Path, default=Path(".sabueso"), help="folder of all state (default .sabueso)")
    parser.add_argument("--port", type=int, default=8080, help="port of the gateway and site (default 8080)")
    parser.add_argument("--no-train", action="store_true", help="collect, but do not train")
    data = parser.add_argument_group("the demo's data API (where COVERTYPE_API_URL is not set)")
    data.add_argument("--csv", type=Path, help="rows to give out instead of made-up ones (.csv or .csv.gz)")
    data.add_argument("--mode", choices=("per-group", "per-batch"), default="per-group")
    data.add_argument("--window", type=float, default=2.0, help="seconds a window lasts (default 2)")
    data.add_argument("--faults", default="", help="faults to make, e.g. 500,cut,row,hang")
    return parser.parse_args(argv)


def function_settings(arguments: argparse.Namespace, demo: DemoData) -> dict[str, str]:
    """Settings of the functions that make a demo quick; those that the caller set stay."""
    wanted = {"SABUESO_MIN_INTERVAL_S": "0.2", "SABUESO_TRIGGER": "off", "SABUESO_REFRESH_S": "2"}
    quick = [f"{name}={seconds}" for name, seconds in MADE_UP_BUDGET_S.items() if name in demo.made_up]
    if quick:
        wanted["SABUESO_BUDGET_S"] = ",".join(quick)
    if arguments.faults:
        wanted["SABUESO_SOURCE_TIMEOUT_S"] = "2"
    return {key: value for key, value in wanted.items() if key not in os.environ}


def run(arguments: argparse.Namespace, system: System) -> int:
    """The demo from the first process to the last prediction. Raises CannotStart."""
    began = time.monotonic()
    system.claim()
    demo = DemoData(system, arguments)
    demo.start()
    settings = function_settings(arguments, demo)
    system.start(settings)
    journey = Journey(system, demo)
    print(f"Sabueso starts in {system.home} ...", file=sys.stderr)
    journey.wait_until_ready()
    found = {name: nothing_yet() for name in journey.pipelines()}

    def attempt(step: Callable[[str, dict[str, Any]], None], name: str) -> None:
        try:
            step(name, found[name])
        except PipelineFailed as error:
            found[name]["reason"] = str(error)
            say(f"! {name}: {error}")

    for name in found:
        attempt(journey.collect, name)
    if not arguments.no_train:
        journey.wait_for_mlflow()
        for name, one in found.items():
            if one["examples"]:
                attempt(journey.train, name)
            if one["version"]:
                attempt(journey.classify, name)
    if settings.get("SABUESO_TRIGGER") == "off" and not arguments.check:
        # From here on new data train by themselves, as in production.
        system.change("fetch-batch", {**settings, "SABUESO_TRIGGER": "on", "SABUESO_MIN_INTERVAL_S": "60"})
        journey.wait_until_ready()
    failed = [name for name, one in found.items() if one["reason"]]
    if failed and not arguments.check:
        say(f"! {', '.join(failed)}: the clock asks the source again every 5 minutes, and trains when there are data")
    _addresses(system)
    if arguments.check:
        print(json.dumps({"pipelines": found, "seconds": _round(began)}))
    return 1 if failed else 0


def _round(began: float) -> float:
    return round(time.monotonic() - began, 1)


def _addresses(system: System) -> None:
    print(f"\n  site      {system.gateway}/", file=sys.stderr)
    print(f"  classify  {system.gateway}/function/classify", file=sys.stderr)
    print(f"  MLflow    {system.mlflow}/", file=sys.stderr)
    print(f"  state     {system.home}\n", file=sys.stderr, flush=True)


def _end(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def main(argv: list[str]) -> int:
    arguments = read_arguments(argv)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell that starts us in the background ignores SIGINT for us
        signal.signal(number, _end)
    system = System(arguments.home.resolve(), arguments.port, os.environ)
    try:
        code = run(arguments, system)
        if not arguments.check:
            print("It keeps serving. Ctrl-C stops everything.", file=sys.stderr, flush=True)
            while system.processes.broken is None:
                time.sleep(0.5)
            print(f"! {system.processes.broken}; everything is stopped", file=sys.stderr)
            code = 1
        return code
    except CannotStart as error:
        print(f"! {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping ...", file=sys.stderr)
        return 130 if arguments.check else 0
    finally:
        system.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
