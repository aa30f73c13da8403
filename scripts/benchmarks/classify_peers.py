"""The peers of a run: installed, checked against the network, their best configuration found, measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.champions import Champions
from benchmarks.figures import under_load
from benchmarks.generator import Generator
from benchmarks.peer_environments import NotInstalled, install
from benchmarks.peer_list import EXPORT, Configuration, Peer
from benchmarks.probes import Probe
from benchmarks.served import NotServing, Served, once
from benchmarks.serving_theirs import START_S, Theirs, apart, export_onnx, write_spec

APART = 1e-3
TRIED_CLIENTS, TRIED_S = 8, 3.0
WRONG = (NotInstalled, NotServing, OSError, ValueError)


class One:
    """A peer as it is measured for one kind; `name` ends with _tuned in its best configuration."""

    def __init__(self, name: str, theirs: Theirs, spec: Path) -> None:
        self.name, self.theirs, self.spec = name, theirs, spec


class Peers:
    """`left_out`: by name, why a peer is not among the figures."""

    def __init__(
        self,
        work: Path,
        champions: Champions,
        probes: Mapping[str, Probe],
        generator: Generator,
        seconds: float,
        tell: Callable[[str], None],
    ) -> None:
        self.work, self.champions, self.probes = work, champions, probes
        self.generator, self.seconds, self.tell = generator, seconds, tell
        self.left_out: dict[str, str] = {}
        self._ready: dict[str, list[One]] = {kind: [] for kind in probes}

    def of(self, kind: str) -> list[One]:
        return [one for one in self._ready[kind] if one.name not in self.left_out]

    def make_ready(self, peers: Sequence[Peer]) -> None:
        """Install each, see that it answers right, try its configurations."""
        exported = self._export(any(peer.network == "onnx" for peer in peers))
        for peer in peers:
            if peer.network == "onnx" and not exported:
                self.left_out[peer.name] = self.left_out["onnx_export"]
                continue
            try:
                self.tell(f"  {peer.name}: installing ...")
                programs = install(peer.name, peer.packages)
                for kind, probe in self.probes.items():
                    self._make_ready(peer, kind, probe, programs)
            except WRONG as error:
                self._leave_out(peer.name, error)

    def _export(self, wanted: bool) -> bool:
        """The SavedModel must be there, and becomes ONNX."""
        for kind, probe in self.probes.items():
            champion = self.champions.folder / probe.pipeline
            if not (champion / "saved" / "saved_model.pb").exists():
                raise NotServing(f"{champion} has no folder saved: peers need the SavedModel of the network")
            write_spec(probe, champion, self.work / "peers" / kind)
        if not wanted:
            return True
        try:
            self.tell("  the network as ONNX ...")
            programs = install("onnx_export", EXPORT)
            for probe in self.probes.values():
                champion = self.champions.folder / probe.pipeline
                export_onnx(programs, champion / "saved", champion / "network.onnx")
        except NotInstalled as error:
            self.left_out["onnx_export"] = str(error)
            return False
        return True

    def _make_ready(self, peer: Peer, kind: str, probe: Probe, programs: Path) -> None:
        plain = self._one(peer.name, peer, peer.default, kind, programs, 0)
        self.tell(f"  {peer.name}, {kind}: {self._tried(plain):,.1f} calls a second, {peer.default.told}")
        self._ready[kind].append(plain)
        best: tuple[float, One] | None = None
        for place, how in enumerate(peer.tuned, start=1):
            one = self._one(f"{peer.name}_tuned", peer, how, kind, programs, place)
            try:
                rate = self._tried(one)
            except WRONG as error:
                self.tell(f"  {one.name}, {kind}: {how.told}: {str(error).splitlines()[0]}")
                continue
            self.tell(f"  {one.name}, {kind}: {rate:,.1f} calls a second, {how.told}")
            if best is None or rate > best[0]:
                best = rate, one
        if best is not None:
            self._ready[kind].append(best[1])
        elif peer.tuned:
            raise NotServing("none of its configurations works")

    def _one(self, name: str, peer: Peer, how: Configuration, kind: str, programs: Path, place: int) -> One:
        folder = self.work / "peers" / kind / peer.name / str(place) / "peer"
        theirs = Theirs(peer, how, self.probes[kind], programs, folder)
        return One(name, theirs, self.work / "peers" / kind / "spec.json")

    def _tried(self, one: One) -> float:
        """Calls a second of a short try. Raises NotServing where it does not answer as the network does."""
        served = one.theirs.prepare(one.spec)
        try:
            self._start(one, served)
            answer = once(served.url, one.theirs.request(served.url, exact=True), START_S)
            apart(one.theirs.told(answer.body)[1], one.theirs.probe.probabilities, APART)
            request, seconds = one.theirs.request(served.url), min(TRIED_S, self.seconds)
            found = under_load(served, self.generator, request, one.theirs.right, seconds, [TRIED_CLIENTS])
            return float(found[f"rps_c{TRIED_CLIENTS}"])
        finally:
            served.stop()

    def measure(self, one: One) -> dict[str, Any] | None:
        """The figures of a round; None, and it is left out from then on, where it fails."""
        served = one.theirs.prepare(one.spec)
        try:
            cold_s = self._start(one, served)
            figures: dict[str, Any] = {"cold_s": round(cold_s, 3), "pss_mb": round(served.pss_mb(), 1)}
            figures |= {"configuration": one.theirs.how.told, "processes": len(served.processes())}
            request = one.theirs.request(served.url)
            return figures | under_load(served, self.generator, request, one.theirs.right, self.seconds)
        except WRONG as error:
            self._leave_out(one.name, error)
            return None
        finally:
            served.stop()

    def _start(self, one: One, served: Served) -> float:
        return served.start(one.theirs.request(served.url), one.theirs.right, START_S)

    def _leave_out(self, name: str, error: Exception) -> None:
        self.left_out[name] = str(error)
        self.tell(f"! {name} is left out: {error}")
