"""A worker's champions in memory: loaded from the scratch folder or MLflow, looked for again in the background.

All workers keep their bundles in the same folder: each appears there whole, by rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from common.bundle import Bundle
from common.errors import BundleRefused, NoModel, RegistryUnavailable, WrongSettings
from common.executions import timestamp
from common.log import log
from common.pipelines import Pipeline
from common.settings import Settings

if TYPE_CHECKING:
    from common.registry import Registry

KEPT = "kept-version"
# What is being downloaded. The folder is emptied before the workers start (server.py).
DOWNLOADS = "downloads"
# A worker that kept no champion answers nobody for so long, unless its first look at MLflow has ended.
FIRST_LOOK_S = 10.0
# A refused version is fetched again after the time of so many looks: what it was refused for may have been mended.
REFUSED_LOOKS = 20
# Bundles of a pipeline that stay: another worker may be about to load one that this one knows nothing of yet.
BUNDLES = 2


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


@dataclass
class Champions:
    """All pipelines' champions. `refresh` runs in one thread; answering threads only read.

    Without a `registry` the settings' one is asked: its library is loaded at the first look, after a kept champion.
    """

    settings: Settings
    pipelines: Mapping[str, Pipeline]
    registry: Registry | None = None
    slots: dict[str, Slot] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    _looked: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.slots = {name: Slot() for name in self.pipelines}

    def missing(self) -> str | None:
        """What a worker that is not ready yet waits for."""
        return None if self._looked.is_set() else "no look at MLflow has ended"

    def get(self, name: str) -> Champion:
        """The champion that answers now. Raises NoModel, saying why there is none."""
        slot = self.slots[name]
        if slot.champion is None:
            raise NoModel(name, slot.why_none)
        return slot.champion

    def start(self) -> None:
        """Load what the scratch folder kept, so that a restart needs no MLflow; then look there again and again.

        Where nothing was kept the first look is waited for, though not for ever: other workers may answer already, and
        a caller must not get from this one that no model serves.
        """
        for name in self.slots:
            self._load_kept(name)
        threading.Thread(target=self._look_again_and_again, name="refresh", daemon=True).start()
        if any(slot.champion is None for slot in self.slots.values()):
            self._looked.wait(FIRST_LOOK_S)

    def _look_again_and_again(self) -> None:
        while True:
            self.refresh()
            if self._stop.wait(self.settings.refresh_s):
                return

    def stop(self) -> None:
        self._stop.set()

    def refresh(self) -> None:
        """Look once for every pipeline; what fails keeps the champion that is there."""
        for name, slot in self.slots.items():
            try:
                self._refresh(name, slot)
            except (RegistryUnavailable, WrongSettings) as error:
                self._keep(name, slot, error.detail)
            except BundleRefused as error:
                self._keep(name, slot, f"the new champion was refused: {error.detail}")
            except Exception as error:  # the thread must live on: a replica without it would never see a champion
                self._keep(name, slot, f"the look at MLflow failed: {type(error).__name__}: {error}")
        self._looked.set()

    def _keep(self, name: str, slot: Slot, why: str) -> None:
        if slot.why_none != why:
            serving = slot.champion.version if slot.champion else None
            log("refresh failed", logging.WARNING, pipeline=name, why=why, serving=serving)
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
            log("champion loaded", pipeline=name, version=version)
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
        """The one that the folder keeps; else it is downloaded and checked beside, and takes its place whole.

        Several workers do so at once: none sees or takes away what another has not finished.
        """
        home, downloads = self._home(name), self.settings.scratch / DOWNLOADS
        home.mkdir(parents=True, exist_ok=True)
        downloads.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=downloads) as part:
            bundle = self._kept(home / version)
            if bundle is None:
                folder = Path(part, version)
                folder.mkdir()
                self._mlflow().download_bundle(name, version, folder)
                bundle = self._checked(folder)
                with contextlib.suppress(OSError):  # another worker was quicker
                    folder.rename(home / version)
            kept = Path(part, KEPT)
            kept.write_text(version)
            kept.rename(home / KEPT)
        with contextlib.suppress(OSError):  # another worker tidies too
            self._tidy(home, version)
        return bundle

    def _tidy(self, home: Path, version: str) -> None:
        """Take away old bundles."""
        folders = {path: path.stat().st_mtime for path in home.iterdir() if path.is_dir() and path.name != version}
        newest_first = sorted(folders, key=lambda path: folders[path], reverse=True)
        for old in newest_first[BUNDLES - 1 :]:
            shutil.rmtree(old, ignore_errors=True)

    def _kept(self, folder: Path) -> Bundle | None:
        """The bundle in the folder; None, and nothing is left of it, if there is none that can serve."""
        try:
            return self._checked(folder)
        except BundleRefused:
            shutil.rmtree(folder, ignore_errors=True)
            return None

    def _checked(self, folder: Path) -> Bundle:
        """Raises BundleRefused."""
        bundle = Bundle(folder, self.settings.secret("bundle-key"))
        bundle.check_golden()
        return bundle

    def _load_kept(self, name: str) -> None:
        home = self._home(name)
        try:
            version = (home / KEPT).read_text().strip()
            bundle = self._kept(home / version)
        except (OSError, WrongSettings):
            return
        if bundle is not None:
            self.slots[name].champion = Champion(version, bundle)

    def _home(self, name: str) -> Path:
        return self.settings.scratch / "bundles" / name
