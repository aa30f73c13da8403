"""How fast classify answers, beside its peers with the same network and the floor with no HTTP, in one run."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.bars import BULK_ROWS, KINDS
from benchmarks.champions import Champions, NoBundles, find_champions
from benchmarks.classify_ours import Ours
from benchmarks.classify_peers import Peers
from benchmarks.classify_rounds import Rounds, told
from benchmarks.generator import Generator
from benchmarks.growth import run_growth
from benchmarks.peer_list import PEERS
from benchmarks.probes import Probe, read_probe
from benchmarks.quality_data import KEY, ROOT
from benchmarks.served import NotServing
from benchmarks.serving_ours import Mlflow, copy_pipelines

FUNCTIONS = ROOT / "functions"
NAMES = tuple(peer.name for peer in PEERS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", action="store_true", help="other servers too, each in an environment in .bench/")
    parser.add_argument("--only", type=_peers, metavar="NAME,NAME", help=f"of the peers; default: {','.join(NAMES)}")
    parser.add_argument("--rounds", type=_count, default=3, metavar="N", help="medians of so many (default: 3)")
    parser.add_argument("--seconds", type=_seconds, default=4, help="for each measurement (default: 4)")
    parser.add_argument("--budget", type=_seconds, default=20, help="of each training (default: 20)")
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="PIPELINE/serving, PIPELINE/saved; made if empty")
    parser.add_argument("--key", default=KEY, help="the bundle-key of given bundles")
    parser.add_argument("--pipelines", type=Path, default=FUNCTIONS / "pipelines", metavar="DIR", help="of the bundles")
    parser.add_argument("--functions", type=Path, default=FUNCTIONS, metavar="DIR", help="those of another checkout")
    parser.add_argument("--csv", type=_rows, default=BULK_ROWS, metavar="ROWS", help="in one call (default: 100000)")
    parser.add_argument("--growth", action="store_true", help="ours alone, against size, rows, pipelines, replicas")
    parser.add_argument("--charts", type=Path, metavar="DIR", help="what --growth found, as SVG")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object for programs")


def _peers(text: str) -> list[str]:
    names = text.split(",")
    if wrong := [name for name in names if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"no peer {', '.join(wrong)}; there are: {', '.join(NAMES)}")
    return names


def _count(text: str) -> int:
    if not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text}: from 1 to 100")
    return int(text)


def _rows(text: str) -> int:
    if not 1 <= int(text) <= 200_000:
        raise argparse.ArgumentTypeError(f"{text}: from 1 to 200000")
    return int(text)


def _seconds(text: str) -> float:
    if not 0.1 <= float(text) <= 600:
        raise argparse.ArgumentTypeError(f"{text}: from 0.1 to 600 seconds")
    return float(text)


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run(given: argparse.Namespace) -> int:
    """0: all is well; 1: a peer could not be measured; 2: ours could not."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="sabueso-bench-") as work:
            return _run(given, Path(work))
    except (NoBundles, NotServing, ConnectionError, TimeoutError) as error:
        tell(f"! {error}")
        return 2
    except KeyboardInterrupt:
        tell("! stopped")
        return 130


def _run(given: argparse.Namespace, work: Path) -> int:
    champions = find_champions(given.bundles, work, given.budget, tell)
    probes = _probes(champions)
    pipelines = copy_pipelines(given.pipelines, {name: name for name in champions.pipelines}, work / "pipelines")
    mlflow = Mlflow(work / "mlflow")
    try:
        tell(f"bundles {champions.told}; starting MLflow ...")
        mlflow.start()
        for name in champions.pipelines:
            mlflow.register(name, champions.bundle(name))
        with Generator() as generator:
            ours = Ours(work, given.functions.resolve(), pipelines, mlflow.url, given.key, generator, given.seconds)
            ours.bulk_rows = given.csv
            ours.start_once(probes)
            if given.growth:
                return run_growth(given, ours, mlflow, champions, probes, tell)
            peers = Peers(work, champions, probes, generator, given.seconds, tell)
            if given.peers:
                peers.make_ready([peer for peer in PEERS if given.only is None or peer.name in given.only])
            rounds = Rounds(champions, probes, ours, peers, tell)
            for number in range(1, given.rounds + 1):
                rounds.measure(f"round {number} of {given.rounds}")
    finally:
        mlflow.stop()
    run_of = {"rounds": given.rounds, "seconds": given.seconds, "bundles": champions.told}
    told(rounds.medians(), run_of, peers.left_out, given.json)
    return 1 if peers.left_out else 0


def _probes(champions: Champions) -> dict[str, Probe]:
    """The first pipeline of each kind, by kind."""
    found: dict[str, Probe] = {}
    for name in champions.pipelines:
        probe = read_probe(name, champions.bundle(name), champions.photos)
        found.setdefault(probe.kind, probe)
    if missing := [kind for kind in KINDS if kind not in found]:
        raise NoBundles(f"{champions.folder} has no bundle of kind {', '.join(missing)}")
    return {kind: found[kind] for kind in KINDS}
