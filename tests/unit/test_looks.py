"""Several processes of one replica: the first looks for champions, the others follow."""

import pytest

from classify.champions import Champions
from classify.looks import Looks
from common.errors import NoModel
from conftest import wait_until

# A follower asks no registry: any use of this is an error.
NEVER = object()


@pytest.fixture
def second_process(serving):
    """Another process of the same replica, which knows what the first did before they were forked."""
    serving.champions.looks = Looks(2, len(serving.champions.pipelines))
    return Champions(serving.settings, serving.champions.pipelines, registry=NEVER, looks=serving.champions.looks)


def served_by(champions):
    return {name: slot.champion and slot.champion.version for name, slot in champions.slots.items()}


def test_of_several_processes_the_first_looks_and_the_others_follow(serving, second_process, second):
    assert second_process.follow() is False  # nothing was told yet
    serving.look()
    assert second_process.follow() is True
    assert served_by(second_process) == {"flowers": "1", "pets": "1"}
    serving.mlflow.register("flowers", "2", second)
    serving.look()
    second_process.follow()
    assert served_by(second_process) == {"flowers": "2", "pets": "1"}
    assert second_process.follow() is False


def test_what_the_first_process_knows_of_a_missing_or_stale_champion_the_others_tell_too(serving, second_process):
    serving.champions.slots["pets"].champion = None
    del serving.mlflow.aliases["flowers", "champion"], serving.mlflow.aliases["pets", "champion"]
    serving.look()
    second_process.follow()
    with pytest.raises(NoModel, match="nothing has been promoted yet"):
        second_process.get("pets")
    assert second_process.slots["flowers"].stale_since == serving.champions.slots["flowers"].stale_since is not None


def test_a_version_that_a_follower_cannot_load_is_tried_again_after_the_next_look(serving, second_process, second):
    serving.look()
    second_process.follow()
    serving.mlflow.register("flowers", "2", second)
    serving.look()
    key = serving.settings.secrets / "bundle-key"
    away = key.rename(key.with_name("away"))
    second_process.follow()
    assert served_by(second_process)["flowers"] == "1"
    away.rename(key)
    assert second_process.follow() is False
    assert "bundles/flowers/2/contract.json" in serving.kept()  # a follower deletes nothing
    serving.look()
    second_process.follow()
    assert served_by(second_process)["flowers"] == "2"


def test_a_new_champion_is_told_before_the_look_at_the_other_pipelines_has_ended(serving, second_process, second):
    serving.look()
    second_process.follow()
    serving.mlflow.register("flowers", "2", second)
    told = []
    real = serving.champions._refresh

    def refresh(name, slot):
        told.append((name, second_process.follow(), served_by(second_process)["flowers"]))
        real(name, slot)

    serving.champions._refresh = refresh
    serving.look()
    assert told == [("flowers", False, "1"), ("pets", False, "2")]
    assert second_process.follow() is True


def test_a_replica_of_several_processes_is_ready_when_all_know_of_a_look(serving, second_process):
    assert serving.champions.missing() == second_process.missing() == "no look at MLflow has ended"
    second_process.begin(1)
    serving.champions.begin()
    wait_until(lambda: second_process.missing() is None)
    second_process.stop()


def test_what_is_being_told_at_this_moment_is_not_heard_yet():
    looks = Looks(2)
    assert looks.read() is None
    looks.write({"a": 1})
    assert looks.read() == {"a": 1}
    looks._text[:8] = bytes(8)
    assert looks.read() is None
    with pytest.raises(ValueError, match="room"):
        looks.write("x" * 9000)
