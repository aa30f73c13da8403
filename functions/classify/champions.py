"""A worker's champions in memory: loaded from the scratch folder or MLflow, polled in the background.

All workers keep their bundles in the same folder. Each bundle appears there complete, by rename.
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

from classify.errors import NoModel
from classify.settings import ClassifySettings
from common.errors import BundleRefused, RegistryUnavailable, WrongSettings
from common.inference.bundle import Bundle
from common.logging import log
from common.pipelines import PipelineHead
from common.registry import Registry
from common.timestamps import timestamp

KEPT = "kept-version"
# Downloads in progress, emptied before the workers start.
DOWNLOADS = "downloads"
# A worker without a kept champion delays its first answer for up to this long, until it has polled MLflow once.
FIRST_POLL_S = 10.0
# A refused version is downloaded again after this many polls: the cause may have been fixed.
REFUSED_POLLS = 20
# Bundles kept for each pipeline: another worker may be about to load one that this worker does not know yet.
BUNDLES = 2


def empty_downloads(settings: ClassifySettings) -> None:
    """Delete what an earlier process had not finished downloading. Call it before any worker runs."""
    shutil.rmtree(settings.scratch / DOWNLOADS, ignore_errors=True)


@dataclass(frozen=True)
class Champion:
    version: str
    bundle: Bundle


@dataclass(frozen=True)
class Refusal:
    """Why a version was refused; valid for the bundle-key with sha256 `key`, until the clock shows `until`."""

    version: str
    key: str
    until: float
    detail: str


@dataclass
class PipelineState:
    """One pipeline's champion, why there is none, and since when it may be out of date."""

    champion: Champion | None = None
    why_none: str = "MLflow has not been polled yet; retry in a moment"
    stale_since: str | None = None
    refusal: Refusal | None = None


@dataclass
class Champions:
    """The champions of all pipelines. `refresh` runs in one thread; answering threads only read."""

    settings: ClassifySettings
    pipelines: Mapping[str, PipelineHead]
    registry: Registry = field(init=False)
    states: dict[str, PipelineState] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    _polled: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.registry = Registry(self.settings)
        self.states = {name: PipelineState() for name in self.pipelines}

    def not_ready(self) -> str | None:
        """What a worker that is not ready waits for."""
        return None if self._polled.is_set() else "MLflow has not been polled yet"

    def get(self, name: str) -> Champion:
        """The champion that answers now. Raises NoModel with the reason."""
        state = self.states[name]
        if state.champion is None:
            raise NoModel(name, state.why_none)
        return state.champion

    def start(self) -> None:
        """Load kept bundles, so that a restart does not need MLflow; then poll MLflow in the background.

        Without a kept bundle wait a while for the first poll: other workers may already answer, and this one must not
        answer `no-model`.
        """
        for name in self.states:
            self._load_kept(name)
        threading.Thread(target=self._poll, name="refresh", daemon=True).start()
        if any(state.champion is None for state in self.states.values()):
            self._polled.wait(FIRST_POLL_S)

    def _poll(self) -> None:
        while True:
            self.refresh()
            if self._stop.wait(self.settings.refresh_s):
                return

    def stop(self) -> None:
        self._stop.set()

    def refresh(self) -> None:
        """Poll once for every pipeline; on failure the current champion stays."""
        for name, state in self.states.items():
            try:
                self._refresh(name, state)
            except (RegistryUnavailable, WrongSettings) as error:
                self._mark_stale(name, state, error.detail)
            except BundleRefused as error:
                self._mark_stale(name, state, f"the new champion was refused: {error.detail}")
            except Exception as error:  # the thread must survive: without it a replica never gets a new champion
                self._mark_stale(name, state, f"polling MLflow failed: {type(error).__name__}: {error}")
        self._polled.set()

    def _mark_stale(self, name: str, state: PipelineState, why: str) -> None:
        if state.why_none != why:
            serving = state.champion.version if state.champion else None
            log("refresh failed", logging.WARNING, pipeline=name, why=why, serving=serving)
        state.why_none = why
        state.stale_since = state.stale_since or timestamp()

    def _refresh(self, name: str, state: PipelineState) -> None:
        version = self.registry.version_of(name)
        if version is None:
            if state.champion is None:
                state.why_none = "nothing has been promoted yet; collect and train first"
                return
            # The alias was removed: the last champion keeps serving, marked as stale.
            state.stale_since = state.stale_since or timestamp()
            return
        if state.champion is None or state.champion.version != version:
            state.champion = Champion(version, self._accepted(name, version, state))
            log("champion loaded", pipeline=name, version=version)
        state.stale_since = state.refusal = None
        state.why_none = ""

    def _accepted(self, name: str, version: str, state: PipelineState) -> Bundle:
        """The version's bundle. Raises BundleRefused; a recent refusal is repeated without a download."""
        key = hashlib.sha256(self.settings.secret("bundle-key").encode()).hexdigest()
        last = state.refusal
        if last is not None and (last.version, last.key) == (version, key) and self.clock() < last.until:
            raise BundleRefused(last.detail)
        try:
            return self._fetch(name, version)
        except BundleRefused as error:
            until = self.clock() + REFUSED_POLLS * self.settings.refresh_s
            state.refusal = Refusal(version, key, until, error.detail)
            raise

    def _fetch(self, name: str, version: str) -> Bundle:
        """The kept bundle, else download it elsewhere, check it, and move it into place.

        Several workers may do so at once; none sees or removes what another has not finished.
        """
        home, downloads = self._home(name), self.settings.scratch / DOWNLOADS
        home.mkdir(parents=True, exist_ok=True)
        downloads.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=downloads) as download:
            bundle = self._load_or_delete(name, home / version)
            if bundle is None:
                folder = Path(download, version)
                folder.mkdir()
                self.registry.download_bundle(name, version, folder)
                bundle = self._checked(name, folder)
                with contextlib.suppress(OSError):  # another worker was faster
                    folder.rename(home / version)
            kept = Path(download, KEPT)
            kept.write_text(version)
            kept.rename(home / KEPT)
        with contextlib.suppress(OSError):  # another worker deletes them too
            self._delete_old_bundles(home, version)
        return bundle

    def _delete_old_bundles(self, home: Path, version: str) -> None:
        folders = {path: path.stat().st_mtime for path in home.iterdir() if path.is_dir() and path.name != version}
        newest_first = sorted(folders, key=lambda path: folders[path], reverse=True)
        for old in newest_first[BUNDLES - 1 :]:
            shutil.rmtree(old, ignore_errors=True)

    def _load_or_delete(self, name: str, folder: Path) -> Bundle | None:
        """Load the bundle in the folder; delete it and return None if it is unusable."""
        try:
            return self._checked(name, folder)
        except BundleRefused:
            shutil.rmtree(folder, ignore_errors=True)
            return None

    def _checked(self, name: str, folder: Path) -> Bundle:
        """Raises BundleRefused."""
        bundle = Bundle(folder, self.settings.secret("bundle-key"), self.pipelines[name].identity)
        bundle.check_golden()
        return bundle

    def _load_kept(self, name: str) -> None:
        home = self._home(name)
        try:
            version = (home / KEPT).read_text().strip()
            bundle = self._load_or_delete(name, home / version)
        except (OSError, WrongSettings):
            return
        if bundle is not None:
            self.states[name].champion = Champion(version, bundle)

    def _home(self, name: str) -> Path:
        return self.settings.scratch / "bundles" / name
