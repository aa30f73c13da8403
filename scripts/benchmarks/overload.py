"""Classify at ten times the clients that it carries: who is answered, who is refused, and how long each waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.clients import Answers, call
from benchmarks.output import log, print_table
from benchmarks.targets import Target, judge
from benchmarks.wrk import WARM_UP_S

TIMES = 10
# Seconds of full load before and after; seconds for the last answers of a phase.
BESIDE_S, LAST_S = 10, 30
# "As fast as before" allows for the noise of ten seconds.
ADMITTED, AFTER = 0.8, 0.9
COLUMNS = ("pipeline", "input", "phase", "clients", "admitted/s", "200", "503", "other", "failed", "unanswered")
TIMES_COLUMNS = ("longest s", "longest 503 s")


@dataclass(frozen=True)
class Overload:
    """The answers of each phase: full load `before`, `overload`, full load `after`."""

    pipeline: str
    input: str
    clients: int
    phases: dict[str, Answers]
    targets: list[Target]

    def as_dict(self) -> dict[str, object]:
        phases = {name: {**vars(one), "admitted_per_s": one.admitted_per_s} for name, one in self.phases.items()}
        return {**vars(self), "phases": phases, "targets": [asdict(target) for target in self.targets]}

    def rows(self) -> list[list[object]]:
        rows: list[list[object]] = []
        for phase, one in self.phases.items():
            clients = self.clients * (TIMES if phase == "overload" else 1)
            ok, refused = one.statuses[200], one.statuses[503]
            counts = [ok, refused, one.statuses.total() - ok - refused, one.failed, one.unanswered]
            waits = [f"{one.longest_s:.2f}", f"{one.longest_refused_s:.2f}"]
            rows.append([self.pipeline, self.input, phase, clients, f"{one.admitted_per_s:.1f}", *counts, *waits])
        return rows


def overload(
    pipeline: str, kind: str, url: str, body: bytes, content_type: str, clients: int, seconds: int, queue_s: float
) -> Overload:
    """Full load from `clients`, `seconds` of overload, and full load again."""
    phases = {}
    call(url, body, content_type, clients, WARM_UP_S, LAST_S)
    for phase, times, took in (("before", 1, min(seconds, BESIDE_S)), ("overload", TIMES, seconds)):
        log(f"    {pipeline}, {kind}, {phase}: {times * clients} clients ...")
        phases[phase] = call(url, body, content_type, times * clients, took, LAST_S)
    log(f"    {pipeline}, {kind}, after: {clients} clients ...")
    phases["after"] = call(url, body, content_type, clients, min(seconds, BESIDE_S), LAST_S)
    return Overload(pipeline, kind, clients, phases, _judged(phases, queue_s))


def _judged(phases: dict[str, Answers], queue_s: float) -> list[Target]:
    before, during, after = (phases[name].admitted_per_s for name in ("before", "overload", "after"))
    wrong = sum(
        one.statuses.total() - one.statuses[200] - one.statuses[503] + one.no_retry_after + one.failed + one.unanswered
        for one in phases.values()
    )
    return [
        judge("admitted per second: overload / full load", _ratio(during, before), least=ADMITTED),
        judge("admitted per second: after / before", _ratio(after, before), least=AFTER),
        judge("longest wait in s", round(max(one.longest_s for one in phases.values()), 2), most=3 * queue_s),
        judge("calls answered neither with 200 nor with 503 and Retry-After", wrong, most=0),
    ]


def _ratio(rate: float, full: float) -> float | None:
    return round(rate / full, 2) if full else None


def report(measured: Sequence[Overload]) -> int:
    """Print the table and the limits. Exit code 1: one of them fails."""
    print_table(COLUMNS + TIMES_COLUMNS, [row for one in measured for row in one.rows()])
    print()
    for one in measured:
        for target in one.targets:
            figure = "" if target.figure is None else f": {target.figure:g}"
            print(f"  {target.verdict:12}  {one.pipeline}, {target.name}{figure} (wanted {target.wanted})")
    print("\nThe clients use this machine's cores too.")
    return exit_code(measured)


def exit_code(measured: Sequence[Overload]) -> int:
    return int(any(target.verdict != "pass" for one in measured for target in one.targets))
