"""The gate: challenger and champion answer the same raw holdout, each with its own bundle."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from common.errors import AlreadyRunning
from common.inference.bundle import CONTRACT, Bundle
from common.inference.contract import Contract
from common.inference.features import canonical_row, read_row
from common.pipeline_files import read_pipelines
from common.pipelines import Gate
from common.storage import keys
from common.storage.executions import begin, history, write_once
from common.storage.leases import acquire
from common.storage.training_record import TrainingRecord
from conftest import HERE, KEY, SHIPPED, run_script
from fake_mlflow import FakeMlflow
from flowers import as_record, draw, encode, flower_rows
from train.context import TrainingContext
from train.export.sign_bundle import sign_bundle
from train.gate.champion import AliasMove, new_move
from train.gate.decide import decide, judge
from train.rollback import rollback
from train.snapshot import Examples, Split, split_of
from train.verdict import Verdict
from train.version_tags import verdict_tags

GATE = Gate(metric="accuracy", floor=0.5, min_gain=0.002)
FLOWERS = read_pipelines(HERE / "pipelines")["flowers"].model_copy(update={"gate": GATE})
PETS = read_pipelines(SHIPPED)["pets"].model_copy(update={"gate": GATE})
LEASE = keys.lease("flowers", "train")


@pytest.fixture(scope="session")
def champions(tmp_path_factory):
    """Folders of real bundles, each made for another pipeline file than today's: tests/champions.py."""
    folder = tmp_path_factory.mktemp("champions")
    run_script("champions.py", folder)
    return folder


def make_examples(inputs, labels, splits):
    origins = [(0, number) for number in range(len(inputs))]
    hashes = [str(number) for number in range(len(inputs))]
    return Examples(inputs, np.array(labels), np.array(splits), hashes, origins, ["sample"], 0, True)


def flower_examples(count=1000):
    """A fifth of them are in the holdout."""
    rows = flower_rows(count, seed=77)
    inputs = [read_row(as_record(row), FLOWERS.inputs)[0] for row in rows]
    labels = [FLOWERS.label_values.index(row[1]) for row in rows]
    return make_examples(inputs, labels, [split_of(canonical_row(one)) for one in inputs])


def judge_flowers(ours, theirs, count=1000):
    return judge_bundles(FLOWERS, flower_examples(count), Bundle(ours, KEY), theirs and Bundle(theirs, KEY))


def judge_bundles(pipeline, examples, ours, theirs):
    return judge(pipeline, examples, ours.predict(examples.of(Split.HOLDOUT)[0])[0].argmax(axis=1), theirs)


@pytest.mark.parametrize("champion", ["other-preprocessing", "labels-turned"])
def test_label_order_and_preprocessing_of_the_champion_do_not_change_its_score(bundles, champions, champion):
    found = judge_flowers(bundles / "flowers", champions / champion)
    assert (found.decision, found.score, found.champion_score) == ("promoted", 1, 1)
    assert found.reason.startswith("no worse, on 1000 examples instead of ")


def test_a_label_that_the_champion_lacks_counts_as_its_mistake(bundles, champions):
    found = judge_flowers(bundles / "flowers", champions / "label-lacking")
    labels = flower_examples().of(Split.HOLDOUT)[1]
    assert found.champion_score == pytest.approx((labels != FLOWERS.label_values.index("large")).mean())
    assert (found.decision, found.score) == ("promoted", 1)


def test_a_removed_label_that_the_champion_answers_counts_as_its_mistake(bundles, champions):
    found = judge_flowers(bundles / "flowers", champions / "label-more")
    inputs, labels = flower_examples().of(Split.HOLDOUT)
    answers = Bundle(champions / "label-more", KEY).predict(inputs)[0].argmax(axis=1)
    giants = (answers == 3).mean()
    assert 0.1 < giants < (labels == 2).mean()
    assert found.champion_score == pytest.approx(1 - giants)
    assert found.decision == "promoted"


@pytest.mark.parametrize(("count", "decision"), [(4000, "promoted"), (1000, "kept")])
def test_a_champion_with_another_column_order_is_compared_on_rows_it_did_not_train_on(
    bundles, champions, count, decision
):
    found = judge_flowers(bundles / "flowers", champions / "columns-turned", count)
    assert (found.decision, found.score, found.champion_score) == (decision, 1, 1)
    reordered = [canonical_row((row[3], row[2], row[0], row[1])) for row in flower_examples(count).of(Split.HOLDOUT)[0]]
    unseen = sum(split_of(one) == Split.HOLDOUT for one in reordered)
    assert count == 4000 or f"has {unseen} examples, under 100: promote by hand" in found.reason


@pytest.mark.parametrize(
    ("champion", "reason"),
    [
        ("column-gone", "the champion needs columns that were removed: scent"),
        ("column-lacking", "the champion lacks columns, so its split was different: place"),
        ("column-of-another-type", "columns have another type than the champion's: turn"),
    ],
)
def test_a_champion_with_other_columns_is_incomparable(bundles, champions, champion, reason):
    found = judge_flowers(bundles / "flowers", champions / champion)
    assert (found.decision, found.score, found.champion_score) == ("incomparable", 1, None)
    assert found.reason == f"{reason}: promote by hand if you want it"


@pytest.mark.parametrize("split", [{"salt": "another", "fractions": [0.7, 0.1, 0.2]}, {"fractions": [0.8, 0.1, 0.1]}])
def test_a_champion_with_another_split_is_incomparable(bundles, tmp_path, split):
    shutil.copytree(bundles / "flowers", tmp_path / "champion")
    contract = json.loads((tmp_path / "champion" / CONTRACT).read_text())
    contract["split"] |= split
    sign_bundle(tmp_path / "champion", Contract.model_validate(contract), KEY)
    found = judge_flowers(bundles / "flowers", tmp_path / "champion")
    assert found.decision == "incomparable"
    assert "another salt or other fractions, so it may have trained on this holdout" in found.reason


def test_a_champion_of_another_kind_is_incomparable(bundles):
    found = judge_flowers(bundles / "flowers", bundles / "pets")
    assert (found.decision, found.reason.split(":")[0]) == ("incomparable", "the champion is of kind image")


def test_a_champion_of_another_picture_size_answers_the_same_files(bundles, champions):
    labels = np.arange(120) % 2
    files = [encode(draw(PETS.label_values[label], 500 + number)) for number, label in enumerate(labels)]
    examples = make_examples(files, labels, [Split.HOLDOUT] * 120)
    found = judge_bundles(PETS, examples, Bundle(bundles / "pets", KEY), Bundle(champions / "another-size", KEY))
    assert (found.decision, found.score, found.champion_score) == ("promoted", 1, 1)
    assert found.reason.startswith("no worse, on 120 examples instead of 60: ")


def test_pictures_are_answered_one_by_one_with_the_same_result(bundles, monkeypatch):
    files = [encode(draw(PETS.label_values[number % 2], number)) for number in range(7)]
    bundle, batch_sizes = Bundle(bundles / "pets", KEY), []
    monkeypatch.setattr(
        bundle, "encode", lambda inputs: batch_sizes.append(len(inputs)) or Bundle.encode(bundle, inputs)
    )
    probabilities, novelty = bundle.predict(files)
    assert batch_sizes == [1] * 7
    for number, file in enumerate(files):
        alone = bundle.predict([file])
        assert np.allclose(probabilities[number], alone[0][0], atol=1e-6)
        assert np.allclose(novelty[number], alone[1][0], rtol=1e-4)


def test_a_small_holdout_promotes_only_a_first_version(bundles, champions):
    assert judge_flowers(bundles / "flowers", None, 300).decision == "promoted"
    found = judge_flowers(bundles / "flowers", champions / "label-lacking", 300)
    assert found.decision == "kept"
    assert "under 100: promote by hand" in found.reason


@dataclass
class Gated:
    """A registry with a weak champion, version 1, and a better version 2 without a decision."""

    context: TrainingContext
    mlflow: FakeMlflow
    scratch: Path

    def decide(self, version):
        folder = self.scratch / f"scratch-{time.monotonic_ns()}"
        folder.mkdir()
        bundle = Bundle(self.mlflow.folder("flowers", version), KEY)
        return decide(self.context, flower_examples(), bundle, version, folder)

    def champion(self):
        return self.context.registry.version_of("flowers")

    def set_champion(self, version):
        self.mlflow.aliases["flowers", "champion"] = version


@pytest.fixture
def gated(make_settings, serve, store, tmp_path, bundles, champions):
    mlflow = FakeMlflow(tmp_path / "mlflow")
    mlflow.register("flowers", "1", champions / "label-lacking")
    mlflow.register("flowers", "2", bundles / "flowers", champion=False)
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url)
    execution = begin(store, "flowers", TrainingRecord.new())
    context = TrainingContext(settings, store, FLOWERS, execution, acquire(store, LEASE, "train", 60))
    return Gated(context, mlflow, tmp_path)


def test_a_better_version_becomes_champion_and_the_move_is_recorded(gated, store):
    found = gated.decide("2")
    assert (found.decision, gated.champion()) == ("promoted", "2")
    [move] = [execution.record for execution in history(store, "flowers", AliasMove)]
    assert (move.version, move.previous, move.reason, move.by) == ("2", "1", found.reason, "gate")


def test_each_bundle_answers_the_holdout_once(gated, monkeypatch):
    calls, predict = [], Bundle.predict
    monkeypatch.setattr(
        Bundle,
        "predict",
        lambda self, inputs: calls.append((self.folder.name, len(inputs))) or predict(self, inputs),
    )
    challenger, size = gated.mlflow.folder("flowers", "2").name, len(flower_examples().of(Split.HOLDOUT)[0])
    gated.decide("2")
    assert calls == [(challenger, size), ("champion", size)]


def test_a_version_rolled_back_before_its_decision_is_not_promoted_again(gated, store):
    gated.decide("2")  # and the job ended before it recorded the decision
    assert rollback(store, gated.context.registry, "flowers") == ("1", "2")
    found = gated.decide("2")
    assert (found.decision, gated.champion()) == ("kept", "1")
    assert "it was rolled back" in found.reason


def test_a_move_without_a_recorded_decision_keeps_its_reason(gated):
    first = gated.decide("2")
    again = gated.decide("2")
    assert (again.decision, again.reason) == ("promoted", first.reason)
    assert again.reason.startswith("better: accuracy 1.0000 against")


def test_an_alias_that_a_person_moved_stays(gated):
    gated.set_champion("2")
    found = gated.decide("2")
    assert (found.decision, gated.champion()) == ("promoted", "2")
    assert "moved by hand" in found.reason


def test_the_first_version_only_has_to_meet_the_floor(gated):
    gated.mlflow.aliases.clear()
    assert gated.decide("2").reason.startswith("the first version")
    assert gated.champion() == "2"


def test_a_champion_that_changed_meanwhile_stays(gated, bundles, store):
    gated.mlflow.register("flowers", "3", bundles / "flowers", champion=False)
    registry = gated.context.registry
    version_of = registry.version_of

    def after_a_person_moved_the_alias(name):
        if history(store, "flowers", AliasMove):  # the gate is about to move the alias
            gated.set_champion("3")
        return version_of(name)

    registry.version_of = after_a_person_moved_the_alias
    found = gated.decide("2")
    assert gated.context.lease.confirm()
    assert (found.decision, gated.champion()) == ("superseded", "3")
    assert found.reason.startswith("the champion changed meanwhile; better")
    assert (found.champion_score, found.bound) != (None, None)


def test_without_the_lease_the_gate_neither_moves_the_alias_nor_decides(gated, store):
    lease = gated.context.lease
    lease.seconds = 0.05
    lease.confirm()
    time.sleep(0.1)  # it expires
    with acquire(store, LEASE, "another", 60), pytest.raises(AlreadyRunning):
        gated.decide("2")
    assert gated.champion() == "1"
    assert gated.mlflow.versions["flowers", "2"] == {}


def test_a_champion_that_can_not_be_loaded_is_incomparable(gated):
    (gated.mlflow.folder("flowers", "1") / CONTRACT).write_text("{}")
    found = gated.decide("2")
    assert (found.decision, found.score, gated.champion()) == ("incomparable", 1, "1")
    assert found.reason.startswith("champion 1 can't be loaded")


@pytest.mark.parametrize("decision", ["promoted", "kept", "incomparable", "superseded"])
def test_tags_hold_every_verdict_with_its_reason_and_end_with_the_decision(decision):
    tags = verdict_tags(Verdict(decision=decision, reason="why", score=0.9, champion_score=0.8, gain=0.1, bound=0.05))
    assert list(tags)[-1] == "sabueso.decision"
    assert (tags["sabueso.decision"], tags["sabueso.reason"]) == (decision, "why")
    assert json.loads(tags["sabueso.gate"]) == {"score": 0.9, "champion_score": 0.8, "gain": 0.1, "bound": 0.05}


def test_the_newest_move_to_a_version_gives_its_reason(gated, store):
    write_once(store, "flowers", new_move("2", "1", "the first time", "gate"))
    time.sleep(0.005)  # records are sorted by the millisecond
    write_once(store, "flowers", new_move("2", "1", "the last time", "gate"))
    gated.set_champion("2")
    assert gated.decide("2").reason == "the last time"
