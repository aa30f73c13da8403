"""Moves of the champion by hand and by the gate: each is recorded first, and safe to repeat after a failure."""

import shutil
import time
from pathlib import Path

import pytest

from common.errors import BundleRefused, RegistryUnavailable, Unusable
from common.pipeline_files import read_pipelines
from common.storage import keys
from common.storage.executions import history, write_once
from common.storage.leases import acquire
from train.gate.champion import AliasMove, load_champion, move_champion, new_move
from train.promote import promote
from train.registry import ModelVersion
from train.rollback import rollback
from train.version_tags import read_tags

FLOWERS = read_pipelines(Path(__file__).parents[1] / "pipelines")["flowers"]

LEASE = keys.lease("flowers", "train")


class MemoryRegistry:
    """Versions and an alias in memory. `failures`: how many of the next calls of a method fail."""

    def __init__(self, versions, champion):
        self.tags = {version: {"sabueso.decision": "promoted", "sabueso.reason": "better"} for version in versions}
        self.pages = dict.fromkeys(versions, "# Flowers\n\n## Gate\n\n**promoted**: better\n\n## Load it\n\nso")
        self.champion = champion
        self.failures = {}

    def _fail_if_asked(self, method):
        if self.failures.get(method):
            self.failures[method] -= 1
            raise RegistryUnavailable("http://mlflow", "it was stopped")

    def version_of(self, name):
        return self.champion

    def version(self, name, number):
        if number not in self.tags:
            return None
        return ModelVersion(number, None, self.pages.get(number, ""), read_tags(self.tags[number]))

    def versions(self, name):
        return [self.version(name, number) for number in sorted(self.tags, reverse=True)]

    def tag_version(self, name, number, tags):
        self._fail_if_asked("tag_version")
        self.tags[number].update(tags)

    def describe_version(self, name, number, text):
        self._fail_if_asked("describe_version")
        self.pages[number] = text

    def move_alias(self, name, number):
        self._fail_if_asked("move_alias")
        self.champion = number

    def download_bundle(self, name, number, folder):
        raise BundleRefused(f"version {number} of {name} holds no bundle")


def record_move(store, version, previous):
    write_once(store, "flowers", new_move(version, previous, "better", "gate"))


@pytest.fixture
def registry(store):
    """Version 3 serves; version 2 served before it."""
    record_move(store, "2", "1")
    record_move(store, "3", "2")
    return MemoryRegistry(["1", "2", "3"], "3")


@pytest.fixture
def with_bundles(registry, bundles):
    """Each version has a usable bundle."""

    def download(name, number, folder):
        shutil.copytree(bundles / name, folder, dirs_exist_ok=True)

    registry.download_bundle = download


@pytest.mark.parametrize("method", ["tag_version", "describe_version", "move_alias"])
def test_rollback_repeated_after_a_failure_reaches_the_same_version(store, registry, method):
    registry.failures = {method: 1}
    with pytest.raises(RegistryUnavailable):
        rollback(store, registry, "flowers")
    assert rollback(store, registry, "flowers") == ("2", "3")
    assert registry.champion == "2"
    assert registry.tags["3"]["sabueso.rejected"] == "true"
    assert "sabueso.rejected" not in registry.tags["2"]
    assert "**rejected**: rolled back to version 2 by hand; before: promoted, better\n\n## Load" in registry.pages["3"]


@pytest.mark.parametrize("tags", [{"sabueso.decision": "superseded"}, {"sabueso.decision": "kept"}, {}])
def test_rollback_skips_versions_that_never_served(store, registry, tags):
    registry.tags["4"] = tags
    record_move(store, "4", "3")
    assert rollback(store, registry, "flowers") == ("2", "3")


@pytest.mark.usefixtures("with_bundles")
def test_promotion_by_hand_withdraws_a_rejection(make_settings, store, registry):
    rollback(store, registry, "flowers")
    rollback(store, registry, "flowers")
    promote(store, registry, make_settings("flowers"), FLOWERS, "2")
    promote(store, registry, make_settings("flowers"), FLOWERS, "3")
    assert registry.tags["3"]["sabueso.rejected_reason"] == "withdrawn: promoted by hand"
    assert rollback(store, registry, "flowers") == ("2", "3")


def test_rollback_keeps_the_gates_reason_beside_its_own(store, registry):
    rollback(store, registry, "flowers")
    tags = registry.tags["3"]
    assert (tags["sabueso.decision"], tags["sabueso.reason"]) == ("promoted", "better")
    assert tags["sabueso.rejected_reason"] == "rolled back to version 2 by hand"


@pytest.mark.usefixtures("with_bundles")
def test_promotion_by_hand_is_written_on_the_versions_page(make_settings, store, registry):
    registry.tags["1"] |= {"sabueso.decision": "kept", "sabueso.reason": "not better"}
    promote(store, registry, make_settings("flowers"), FLOWERS, "1")
    assert "## Gate\n\n**promoted**: promoted by hand; before: kept, not better\n\n## Load it" in registry.pages["1"]
    assert "sabueso.rejected_reason" not in registry.tags["1"]


def test_a_move_is_recorded_before_it_happens(store, registry):
    registry.failures = {"move_alias": 1}
    with pytest.raises(RegistryUnavailable):
        rollback(store, registry, "flowers")
    recorded = [execution.record for execution in history(store, "flowers", AliasMove)]
    assert ("2", "3", "finished") in [(move.version, move.previous, move.state) for move in recorded]


def test_a_champion_without_a_bundle_is_reported_at_once(make_settings, tmp_path, store, registry):
    settings = make_settings("flowers")
    assert load_champion(registry, settings, FLOWERS, tmp_path)[2] == "version 3 of flowers holds no bundle"
    with pytest.raises(Unusable, match="holds no bundle"):
        promote(store, registry, settings, FLOWERS, "1")


@pytest.mark.parametrize(
    ("current", "expected", "moved"),
    [("2", "2", True), (None, None, True), ("3", "2", True), ("1", "2", False), ("2", None, False)],
)
def test_the_gate_moves_the_alias_only_if_it_is_unchanged(store, registry, current, expected, moved):
    registry.champion = current
    with acquire(store, LEASE, "train", 60) as lease:
        assert move_champion(registry, lease, "flowers", "3", expected) is moved
    assert registry.champion == ("3" if moved else current)


def test_the_gate_does_not_move_the_alias_without_its_lease(store, registry):
    registry.champion = "2"
    lost = acquire(store, LEASE, "first", 0.05)
    time.sleep(0.1)
    acquire(store, LEASE, "second", 60)
    assert move_champion(registry, lost, "flowers", "3", "2") is False
    assert registry.champion == "2"


def test_a_retry_of_the_gate_does_not_overrule_a_person(store, registry):
    registry.champion = "2"
    registry.failures = {"move_alias": 1}
    with acquire(store, LEASE, "train", 60) as lease:
        with pytest.raises(RegistryUnavailable):
            move_champion(registry, lease, "flowers", "3", "2")
        registry.champion = "1"
        assert move_champion(registry, lease, "flowers", "3", "2") is False
    assert registry.champion == "1"


def test_the_bundle_of_another_pipeline_is_no_champion_and_can_t_be_promoted(
    make_settings, tmp_path, store, registry, bundles, monkeypatch
):
    """Its signature is good: all pipelines of a deployment share the key."""
    monkeypatch.setattr(
        registry,
        "download_bundle",
        lambda name, version, folder: shutil.copytree(bundles / "pets", folder, dirs_exist_ok=True),
    )
    settings = make_settings("flowers")
    assert "was made for pipeline 'pets'" in load_champion(registry, settings, FLOWERS, tmp_path / "champion")[2]
    with pytest.raises(Unusable, match="can't serve: the bundle was made for pipeline 'pets' of kind image"):
        promote(store, registry, settings, FLOWERS, "1")
    assert registry.version_of("flowers") == "3"
