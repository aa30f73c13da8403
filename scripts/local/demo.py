"""The demo: start everything, collect, train both pipelines, classify, print the addresses, keep serving."""

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
from local.system import StartFailed, System
from local.walkthrough import PipelineFailed, Walkthrough, log, new_result

# Made-up data are easy to learn. Real data get the budget of their pipeline file.
MADE_UP_BUDGET_S = {"covertype": 20, "pets": 50}


def read_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="exit after the predictions with 0 or 1; the last line is JSON"
    )
    parser.add_argument("--home", type=Path, default=Path(".sabueso"), help="folder for all state (default .sabueso)")
    parser.add_argument("--port", type=int, default=8080, help="port of the gateway and site (default 8080)")
    parser.add_argument("--no-train", action="store_true", help="collect, but do not train")
    data = parser.add_argument_group("the demo's data API (used if COVERTYPE_API_URL is not set)")
    data.add_argument("--csv", type=Path, help="rows to serve instead of made-up ones (.csv or .csv.gz)")
    data.add_argument("--mode", choices=("per-group", "per-batch"), default="per-group")
    data.add_argument("--window", type=float, default=2.0, help="seconds per window (default 2)")
    data.add_argument("--faults", default="", help="faults to make, e.g. 500,cut,row,hang")
    return parser.parse_args(argv)


def function_settings(arguments: argparse.Namespace, demo: DemoData) -> dict[str, str]:
    """Settings that make the demo fast; variables of the caller take precedence."""
    wanted = {"SABUESO_MIN_INTERVAL_S": "0.2", "SABUESO_TRIGGER": "off", "SABUESO_REFRESH_S": "2"}
    budgets = [f"{name}={seconds}" for name, seconds in MADE_UP_BUDGET_S.items() if name in demo.made_up]
    if budgets:
        wanted["SABUESO_BUDGET_S"] = ",".join(budgets)
    if arguments.faults:
        wanted["SABUESO_SOURCE_TIMEOUT_S"] = "2"
    return {key: value for key, value in wanted.items() if key not in os.environ}


def run(arguments: argparse.Namespace, system: System) -> int:
    """The demo from the first process to the last prediction. Raises StartFailed."""
    began = time.monotonic()
    system.claim()
    demo = DemoData(system, arguments)
    demo.start()
    settings = function_settings(arguments, demo)
    system.start(settings)
    walkthrough = Walkthrough(system, demo)
    print(f"Starting Sabueso in {system.home} ...", file=sys.stderr)
    walkthrough.wait_until_ready()
    results = {name: new_result() for name in walkthrough.pipelines()}

    def attempt(step: Callable[[str, dict[str, Any]], None], name: str) -> None:
        try:
            step(name, results[name])
        except PipelineFailed as error:
            results[name]["reason"] = str(error)
            log(f"! {name}: {error}")

    for name in results:
        attempt(walkthrough.collect, name)
    if not arguments.no_train:
        walkthrough.wait_for_mlflow()
        for name, result in results.items():
            if result["examples"]:
                attempt(walkthrough.train, name)
            if result["version"]:
                attempt(walkthrough.classify, name)
    if settings.get("SABUESO_TRIGGER") == "off" and not arguments.check:
        # From now on new data start a training, as in production.
        system.change("fetch-batch", {**settings, "SABUESO_TRIGGER": "on", "SABUESO_MIN_INTERVAL_S": "60"})
        walkthrough.wait_until_ready()
    failed = [name for name, result in results.items() if result["reason"]]
    if failed and not arguments.check:
        log(f"! failed: {', '.join(failed)}. The schedule fetches again every 5 minutes")
    _print_addresses(system)
    if arguments.check:
        print(json.dumps({"pipelines": results, "seconds": round(time.monotonic() - began, 1)}))
    return 1 if failed else 0


def _print_addresses(system: System) -> None:
    print(f"\n  site      {system.gateway}/", file=sys.stderr)
    print(f"  classify  {system.gateway}/function/classify", file=sys.stderr)
    print(f"  MLflow    {system.mlflow}/", file=sys.stderr)
    print(f"  state     {system.home}\n", file=sys.stderr, flush=True)


def _end(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def main(argv: list[str]) -> int:
    arguments = read_arguments(argv)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell ignores SIGINT for background jobs
        signal.signal(number, _end)
    system = System(arguments.home.resolve(), arguments.port, os.environ)
    try:
        code = run(arguments, system)
        if not arguments.check:
            print("Serving. Ctrl-C stops everything.", file=sys.stderr, flush=True)
            while system.processes.broken is None:
                time.sleep(0.5)
            print(f"! {system.processes.broken}; stopping everything", file=sys.stderr)
            code = 1
        return code
    except StartFailed as error:
        print(f"! {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping ...", file=sys.stderr)
        return 130 if arguments.check else 0
    finally:
        system.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
