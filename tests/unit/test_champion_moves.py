"""Moves of the alias that fail half-way do no harm when they are asked for again."""

import shutil
import time

import pytest

from common.errors import BundleRefused, RegistryUnavailable, Unusable
from common.executions import history
from common.leases import acquire
from train.judge.champion import load_champion, move_champion, note_move, promote, rollback


class Registry:
    """Versions and an alias in memory; `down` says how many of the next calls of a method fail."""

    def __init__(self, versions, champion):
        self.tags = {version: {"sabueso.decision": "promoted", "sabueso.reason": "better"} for version in versions}
        self.pages = dict.fromkeys(versions, "# Flowers\n\n## Gate\n\n**promoted**: better\n\n## Load it\n\nso")
        self.champion = champion
        self.down = {}

    def _called(self, name):
        if self.down.get(name):
            self.down[name] -= 1
            raise RegistryUnavailable("http://mlflow", "it was stopped")

    def version_of(self, name):
        return self.champion

    def version(self, name, version):
        if version not in self.tags:
            return None
        return {"version": version, "tags": dict(self.tags[version]), "description": self.pages.get(version, "")}

    def versions(self, name):
        return [self.version(name, version) for version in sorted(self.tags, reverse=True)]

    def tag_version(self, name, version, tags):
        self._called("tag_version")
        self.tags[version].update(tags)

    def describe_version(self, name, version, text):
        self._called("describe_version")
        self.pages[version] = text

    def move_alias(self, name, version):
        self._called("move_alias")
        self.champion = version

    def download_bundle(self, name, version, folder):
        raise BundleRefused(f"version {version} of {name} holds no bundle")


@pytest.fixture
def registry(store):
    """Version 3 serves, and served after 2."""
    note_move("flowers", "2", "1", "better", "gate")(store)
    note_move("flowers", "3", "2", "better", "gate")(store)
    return Registry(["1", "2", "3"], "3")


@pytest.mark.parametrize("fails", ["tag_version", "describe_version", "move_alias"])
def test_a_rollback_that_failed_half_way_goes_to_the_same_version_when_asked_again(store, registry, fails):
    registry.down = {fails: 1}
    with pytest.raises(RegistryUnavailable):
        rollback(store, registry, "flowers")
    assert rollback(store, registry, "flowers") == ("2", "3")
    assert registry.champion == "2"
    assert registry.tags["3"]["sabueso.rejected"] == "true"
    assert "sabueso.rejected" not in registry.tags["2"]
    assert "**rejected**: rolled back to version 2 by hand; before: promoted, better\n\n## Load" in registry.pages["3"]


@pytest.mark.parametrize("tags", [{"sabueso.decision": "superseded"}, {"sabueso.decision": "kept"}, {}])
def test_a_rollback_does_not_go_to_a_version_that_never_came_to_serve(store, registry, tags):
    registry.tags["4"] = tags
    note_move("flowers", "4", "3", "better", "gate")(store)
    assert rollback(store, registry, "flowers") == ("2", "3")


def test_a_promotion_by_hand_takes_a_rejection_back(make_settings, store, registry, bundles):
    rollback(store, registry, "flowers")
    rollback(store, registry, "flowers")
    registry.download_bundle = lambda name, version, folder: shutil.copytree(bundles / name, folder, dirs_exist_ok=True)
    promote(store, registry, make_settings("flowers"), "flowers", "2")
    promote(store, registry, make_settings("flowers"), "flowers", "3")
    assert registry.tags["3"]["sabueso.rejected_reason"] == "taken back: promoted by hand"
    assert rollback(store, registry, "flowers") == ("2", "3")


def test_the_gate_s_reason_stays_after_a_rollback_which_has_its_own(store, registry):
    rollback(store, registry, "flowers")
    tags = registry.tags["3"]
    assert (tags["sabueso.decision"], tags["sabueso.reason"]) == ("promoted", "better")
    assert tags["sabueso.rejected_reason"] == "rolled back to version 2 by hand"


def test_a_promotion_by_hand_is_told_on_the_version_s_page(make_settings, store, registry, bundles):
    registry.download_bundle = lambda name, version, folder: shutil.copytree(bundles / name, folder, dirs_exist_ok=True)
    registry.tags["1"] |= {"sabueso.decision": "kept", "sabueso.reason": "not better"}
    promote(store, registry, make_settings("flowers"), "flowers", "1")
    assert "## Gate\n\n**promoted**: promoted by hand; before: kept, not better\n\n## Load it" in registry.pages["1"]
    assert "sabueso.rejected_reason" not in registry.tags["1"]


def test_every_move_is_in_the_history_before_it_happens(store, registry):
    registry.down = {"move_alias": 1}
    with pytest.raises(RegistryUnavailable):
        rollback(store, registry, "flowers")
    moves = [one.body for one in history(store, "flowers", "alias")]
    assert ("2", "3", "finished") in [(move["version"], move["previous"], move["state"]) for move in moves]


def test_a_champion_without_a_bundle_is_told_and_not_waited_for(make_settings, tmp_path, store, registry):
    settings = make_settings("flowers")
    assert load_champion(registry, settings, "flowers", tmp_path)[2] == "version 3 of flowers holds no bundle"
    with pytest.raises(Unusable, match="holds no bundle"):
        promote(store, registry, settings, "flowers", "1")


@pytest.mark.parametrize(
    ("now", "before", "moved"),
    [("2", "2", True), (None, None, True), ("3", "2", True), ("1", "2", False), ("2", None, False)],
)
def test_the_gate_moves_the_alias_only_if_nobody_else_did(store, registry, now, before, moved):
    registry.champion = now
    with acquire(store, "jobs/flowers/train.json", "train", 60) as lease:
        assert move_champion(registry, lease, "flowers", "3", before) is moved
    assert registry.champion == ("3" if moved else now)


def test_the_gate_leaves_the_alias_to_whoever_took_its_lease(store, registry):
    registry.champion = "2"
    lost = acquire(store, "jobs/flowers/train.json", "first", 0.05)
    time.sleep(0.1)
    acquire(store, "jobs/flowers/train.json", "second", 60)
    assert move_champion(registry, lost, "flowers", "3", "2") is False
    assert registry.champion == "2"


def test_a_person_who_moves_the_alias_while_the_gate_waits_is_not_overruled(store, registry):
    registry.champion = "2"
    registry.down = {"move_alias": 1}
    with acquire(store, "jobs/flowers/train.json", "train", 60) as lease:
        with pytest.raises(RegistryUnavailable):
            move_champion(registry, lease, "flowers", "3", "2")
        registry.champion = "1"
        assert move_champion(registry, lease, "flowers", "3", "2") is False
    assert registry.champion == "1"
