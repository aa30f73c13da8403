"""The targets that the figures of a run must meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

KINDS = {"image": "pictures", "tabular": "rows"}
OURS, OURS_ALONE, MLFLOW = "ours", "ours, 1 worker", "mlflow"
WORKERS = {OURS: 2, OURS_ALONE: 1}
MLFLOW_RATIO, PEER_RATIO, TAIL, START_S = {"image": 10, "tabular": 80}, {"image": 1, "tabular": 1.25}, 5, 1.0
PSS_MB = {OURS_ALONE: 150, OURS: 270}
# CPU of a picture relative to decoder and network alone: one of the two limits must hold.
FLOOR_RATIO, FLOOR_MORE_MS = 1.2, 0.8
Figures = Mapping[str, Mapping[str, Mapping[str, float]]]  # by kind and server


@dataclass(frozen=True)
class Target:
    """A target and whether the run met it. `figure` is None if the run did not measure it."""

    name: str
    wanted: str
    figure: float | None
    verdict: str


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over the rounds."""
    return {name: round(median(figures[name] for figures in rounds), 3) for name in rounds[0]}


def judge_targets(figures: Figures, floor_ms: float | None = None) -> list[Target]:
    """Every target with its verdict; where both kinds have a figure, the worse counts.

    `floor_ms`: CPU of decoder and network alone.
    """
    judged = []
    for kind, name in KINDS.items():
        servers = figures.get(kind, {})
        rates = {server: values["calls_per_s"] for server, values in servers.items()}
        peers = [rate for server, rate in rates.items() if server not in (*WORKERS, MLFLOW)]
        best, ours = max(peers, default=None), servers.get(OURS, {})
        judged += [
            judge(
                f"{name}, calls/s: ours / mlflow", _ratio(rates.get(OURS), rates.get(MLFLOW)), least=MLFLOW_RATIO[kind]
            ),
            judge(
                f"{name}, calls/s: ours / the best tuned peer", _ratio(rates.get(OURS), best), least=PEER_RATIO[kind]
            ),
            judge(f"{name}: p99 / p50", _ratio(ours.get("p99_ms"), ours.get("p50_ms")), most=TAIL),
        ]
    cpu = figures.get("image", {}).get(OURS, {}).get("cpu_ms")
    most = round(max(FLOOR_RATIO, 1 + FLOOR_MORE_MS / floor_ms), 3) if floor_ms else FLOOR_RATIO
    judged.append(judge("pictures, CPU: ours / decoder and network alone", _ratio(cpu, floor_ms), most=most))
    judged.append(judge("seconds to the first right answer", _worst(figures, OURS, "start_s"), most=START_S))
    for server, most in PSS_MB.items():
        judged.append(judge(f"{server}: PSS in MB", _worst(figures, server, "pss_mb"), most=most))
    return judged


def judge(name: str, figure: float | None, least: float = float("-inf"), most: float = float("inf")) -> Target:
    wanted = f"<= {most:g}" if least == float("-inf") else f">= {least:g}"
    if figure is None:
        return Target(name, wanted, None, "not measured")
    return Target(name, wanted, figure, "pass" if least <= figure <= most else "FAIL")


def _ratio(figure: float | None, divisor: float | None) -> float | None:
    return round(figure / divisor, 3) if figure is not None and divisor else None


def _worst(figures: Figures, server: str, name: str) -> float | None:
    return max((servers[server][name] for servers in figures.values() if server in servers), default=None)
