"""The champions in memory: loaded from the scratch folder or MLflow, looked for again in the background.

Of several processes the first looks at MLflow, and the others load what it found from the same folder.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classify.looks import Looks
from common.bundle import Bundle
from common.errors import BundleRefused, NoModel, RegistryUnavailable, WrongSettings
from common.executions import timestamp
from common.log import log
from common.pipelines import Pipeline
from common.settings import Settings

if TYPE_CHECKING:
    from common.registry import Registry

KEPT = "kept-version"
# A refused version is fetched again after the time of so many looks: what it was refused for may have been mended.
REFUSED_LOOKS = 20
# Between two looks at what the first process tells; a reason is cut, so that there is room for all.
FOLLOW_S, MOST_TOLD = 0.1, 500


@dataclass(frozen=True)
class Champion:
    version: str
    bundle: Bundle


@dataclass(frozen=True)
class Refusal:
    """Why a version was refused, under which bundle-key (its sha256), and until when that counts."""

    version: str
    key: str
    until: float
    detail: str


@dataclass
class Slot:
    """One pipeline's champion, why there is none, and since when it may be out of date."""

    champion: Champion | None = None
    why_none: str = "no look at MLflow has ended yet; try again in a moment"
    stale_since: str | None = None
    refusal: Refusal | None = None

    def told(self) -> dict[str, str | None]:
        """What the other processes of this replica need to know."""
        version = self.champion.version if self.champion else None
        return {"version": version, "why_none": self.why_none[:MOST_TOLD], "stale_since": self.stale_since}


@dataclass
class Champions:
    """All pipelines' champions. `refresh` or `follow` runs in one thread; answering threads only read.

    Without a `registry` the settings' one is asked: its library is loaded at the first look, after a kept champion.
    """

    settings: Settings
    pipelines: Mapping[str, Pipeline]
    registry: Registry | None = None
    slots: dict[str, Slot] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    looks: Looks = field(default_factory=Looks)
    _told: Any = None
    _number: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.slots = {name: Slot() for name in self.pipelines}

    def missing(self) -> str | None:
        """What a replica that is not ready yet waits for."""
        return None if self.looks.ended else "no look at MLflow has ended"

    def get(self, name: str) -> Champion:
        """The champion that answers now. Raises NoModel, saying why there is none."""
        slot = self.slots[name]
        if slot.champion is None:
            raise NoModel(name, slot.why_none)
        return slot.champion

    def start(self) -> None:
        """Load what the scratch folder kept, then look at MLflow again and again in the background."""
        self.load_kept()
        self.begin()

    def load_kept(self) -> None:
        """Load the bundles that an earlier process left, so that a restart needs no MLflow."""
        for name in self.slots:
            self._load_kept(name)

    def begin(self, place: int = 0) -> None:
        """In the background, again and again: look at MLflow, or in any process but the first follow what it found."""
        turn, pause_s = (self.follow, FOLLOW_S) if place else (self.refresh, self.settings.refresh_s)

        def loop() -> None:
            while True:
                if turn():
                    self.looks.end(place)
                if self._stop.wait(pause_s):
                    return

        threading.Thread(target=loop, name="refresh", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def refresh(self) -> bool:
        """Look once for every pipeline; what fails keeps the champion that is there. True, as a look has ended."""
        self._number += 1
        for name, slot in self.slots.items():
            try:
                self._refresh(name, slot)
            except (RegistryUnavailable, WrongSettings) as error:
                self._keep(name, slot, error.detail)
            except BundleRefused as error:
                self._keep(name, slot, f"the new champion was refused: {error.detail}")
            except Exception as error:  # the thread must live on: a replica without it would never see a champion
                self._keep(name, slot, f"the look at MLflow failed: {type(error).__name__}: {error}")
            self._tell(ended=False)
        self._tell(ended=True)
        return True

    def _tell(self, ended: bool) -> None:
        """A new champion is told at once, whatever the look at the other pipelines still takes."""
        if self.looks.shared:
            slots = {name: slot.told() for name, slot in self.slots.items()}
            self.looks.write({"look": self._number, "ended": ended, "slots": slots})

    def follow(self) -> bool:
        """Load the champions that the first process has; True if it had told of a whole look.

        A version that can't be loaded (it may have been replaced already) is tried again after the next look.
        """
        told = self.looks.read()
        if told is None or told == self._told:
            return False
        self._told = told
        for name, one in told["slots"].items():
            slot = self.slots[name]
            try:
                if one["version"] not in (None, slot.champion and slot.champion.version):
                    slot.champion = Champion(one["version"], self._loaded(self._home(name) / one["version"]))
                slot.stale_since, slot.why_none = one["stale_since"], one["why_none"]
            except Exception as error:  # as in `refresh`
                self._keep(name, slot, getattr(error, "detail", None) or f"{type(error).__name__}: {error}")
        return bool(told["ended"])

    def _keep(self, name: str, slot: Slot, why: str) -> None:
        if slot.why_none != why:
            log(
                "classify",
                "refresh failed",
                pipeline=name,
                why=why,
                serving=slot.champion.version if slot.champion else None,
            )
        slot.why_none = why
        slot.stale_since = slot.stale_since or timestamp()

    def _mlflow(self) -> Registry:
        if self.registry is None:
            from common.registry import Registry

            self.registry = Registry(self.settings)
        return self.registry

    def _refresh(self, name: str, slot: Slot) -> None:
        version = self._mlflow().version_of(name)
        if version is None:
            if slot.champion is None:
                slot.why_none = "nothing has been promoted yet; collect and train first"
                return
            # The alias was taken away: the last good one goes on, and says that it may be stale.
            slot.stale_since = slot.stale_since or timestamp()
            return
        if slot.champion is None or slot.champion.version != version:
            slot.champion = Champion(version, self._accepted(name, version, slot))
            log("classify", "champion loaded", pipeline=name, version=version)
        slot.stale_since = slot.refusal = None
        slot.why_none = ""

    def _accepted(self, name: str, version: str, slot: Slot) -> Bundle:
        """The version's bundle. Raises BundleRefused; for a while, under the same key, without fetching it again."""
        key = hashlib.sha256(self.settings.secret("bundle-key").encode()).hexdigest()
        last = slot.refusal
        if last is not None and (last.version, last.key) == (version, key) and self.clock() < last.until:
            raise BundleRefused(last.detail)
        try:
            return self._fetch(name, version)
        except BundleRefused as error:
            until = self.clock() + REFUSED_LOOKS * self.settings.refresh_s
            slot.refusal = Refusal(version, key, until, error.detail)
            raise

    def _fetch(self, name: str, version: str) -> Bundle:
        """What an earlier process left, if it is whole; else download beside, check, take the place of the old one."""
        home = self._home(name)
        part, whole = home / f"{version}.part", home / version
        try:
            bundle = self._checked(whole)
        except BundleRefused:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            self._mlflow().download_bundle(name, version, part)
            part.rename(whole)
            bundle = self._checked(whole)
        (home / f"{KEPT}.part").write_text(version)
        (home / f"{KEPT}.part").rename(home / KEPT)
        for old in home.iterdir():
            if old.is_dir() and old.name != version:
                shutil.rmtree(old, ignore_errors=True)
        return bundle

    def _checked(self, folder: Path) -> Bundle:
        """The bundle in the folder. Raises BundleRefused, and takes the folder away, if it can't serve."""
        try:
            return self._loaded(folder)
        except BundleRefused:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _loaded(self, folder: Path) -> Bundle:
        bundle = Bundle(folder, self.settings.secret("bundle-key"))
        bundle.check_golden()
        return bundle

    def _load_kept(self, name: str) -> None:
        home = self._home(name)
        try:
            version = (home / KEPT).read_text().strip()
            bundle = self._checked(home / version)
        except (OSError, BundleRefused, WrongSettings):
            return
        self.slots[name].champion = Champion(version, bundle)

    def _home(self, name: str) -> Path:
        return self.settings.scratch / "bundles" / name
