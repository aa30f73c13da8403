"""Challenger and champion, each by its own bundle, on the same raw holdout, whatever the champion was made for."""

import json
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from common.bundle import CONTRACT, Bundle, sign_bundle
from common.errors import AlreadyRunning
from common.executions import history
from common.features import canonical_row, read_row
from common.leases import acquire
from common.pipelines import Gate, read_pipelines
from common.registry import Registry
from conftest import HERE, KEY, SHIPPED, run_script
from fake_mlflow import FakeMlflow
from flowers import as_record, draw, encode, flower_rows
from train.judge.champion import as_tags, note_move, rollback
from train.judge.gate import Verdict
from train.judge.judge import decide, judge
from train.snapshot import Examples, part_of

GATE = Gate("accuracy", floor=0.5, min_gain=0.002)
FLOWERS = replace(read_pipelines(HERE / "pipelines")["flowers"], gate=GATE)
PETS = replace(read_pipelines(SHIPPED)["pets"], gate=GATE)


@pytest.fixture(scope="session")
def champions(tmp_path_factory):
    """Folders of real bundles, each made for something else than today's pipelines: tests/champions.py."""
    folder = tmp_path_factory.mktemp("champions")
    run_script("champions.py", folder)
    return folder


def make_examples(inputs, labels, parts):
    places = [(0, number) for number in range(len(inputs))]
    names = [str(number) for number in range(len(inputs))]
    return Examples(inputs, np.array(labels), np.array(parts), names, places, ["sample"], 0, True)


def flower_examples(count=1000):
    """Their holdout has a fifth of them."""
    rows = flower_rows(count, seed=77)
    inputs = [read_row(as_record(row), FLOWERS.input_columns())[0] for row in rows]
    labels = [FLOWERS.label_values.index(row[1]) for row in rows]
    return make_examples(inputs, labels, [part_of(canonical_row(one)) for one in inputs])


def judged(ours, theirs, count=1000):
    return judged_by(FLOWERS, flower_examples(count), Bundle(ours, KEY), theirs and Bundle(theirs, KEY))


def judged_by(pipeline, examples, ours, theirs):
    return judge(pipeline, examples, ours.predict(examples.of(2)[0])[0].argmax(axis=1), theirs)


@pytest.mark.parametrize("made", ["other-preprocessing", "labels-turned"])
def test_a_champion_with_labels_in_another_order_or_other_preprocessing_is_as_good_as_it_is(bundles, champions, made):
    found = judged(bundles / "flowers", champions / made)
    assert (found.decision, found.score, found.champion_score) == ("promoted", 1, 1)
    assert found.reason.startswith("no worse, on 1000 examples instead of ")


def test_a_label_that_the_champion_lacks_counts_as_its_mistake(bundles, champions):
    found = judged(bundles / "flowers", champions / "label-lacking")
    labels = flower_examples().of(2)[1]
    assert found.champion_score == pytest.approx((labels != FLOWERS.label_values.index("large")).mean())
    assert (found.decision, found.score) == ("promoted", 1)


def test_a_label_of_the_champions_that_is_no_more_counts_as_its_mistake(bundles, champions):
    found = judged(bundles / "flowers", champions / "label-more")
    inputs, labels = flower_examples().of(2)
    answers = Bundle(champions / "label-more", KEY).predict(inputs)[0].argmax(axis=1)
    giants = (answers == 3).mean()
    assert 0.1 < giants < (labels == 2).mean()
    assert found.champion_score == pytest.approx(1 - giants)
    assert found.decision == "promoted"


@pytest.mark.parametrize(("count", "decision"), [(4000, "promoted"), (1000, "kept")])
def test_a_champion_with_columns_in_another_order_is_compared_on_what_it_has_not_learnt_from(
    bundles, champions, count, decision
):
    found = judged(bundles / "flowers", champions / "columns-turned", count)
    assert (found.decision, found.score, found.champion_score) == (decision, 1, 1)
    turned = [canonical_row((row[3], row[2], row[0], row[1])) for row in flower_examples(count).of(2)[0]]
    unseen = sum(part_of(one) == 2 for one in turned)
    assert count == 4000 or f"has {unseen} examples, under 100: promote by hand" in found.reason


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("column-gone", "the champion needs columns that are no more: scent"),
        ("column-lacking", "the champion lacks columns, so its split was another: place"),
        ("column-of-another-type", "columns have another type than the champion's: turn"),
    ],
)
def test_a_champion_with_other_columns_is_incomparable(bundles, champions, made, why):
    found = judged(bundles / "flowers", champions / made)
    assert (found.decision, found.score, found.champion_score) == ("incomparable", 1, None)
    assert found.reason == f"{why}: promote by hand if you want it"


@pytest.mark.parametrize("split", [{"salt": "another", "fractions": [0.7, 0.1, 0.2]}, {"fractions": [0.8, 0.1, 0.1]}])
def test_a_champion_with_another_split_is_incomparable(bundles, tmp_path, split):
    shutil.copytree(bundles / "flowers", tmp_path / "champion")
    contract = json.loads((tmp_path / "champion" / CONTRACT).read_text())
    contract["split"] |= split
    left = {key: value for key, value in contract.items() if key not in ("files", "hmac")}
    sign_bundle(tmp_path / "champion", left, KEY)
    found = judged(bundles / "flowers", tmp_path / "champion")
    assert found.decision == "incomparable"
    assert "another salt or other fractions, so it may have learnt from this holdout" in found.reason


def test_a_champion_of_another_kind_is_incomparable(bundles):
    found = judged(bundles / "flowers", bundles / "pets")
    assert (found.decision, found.reason.split(":")[0]) == ("incomparable", "the champion is of kind image")


def test_a_champion_of_another_picture_size_answers_the_same_files(bundles, champions):
    labels = np.arange(120) % 2
    files = [encode(draw(PETS.label_values[label], 500 + number)) for number, label in enumerate(labels)]
    examples = make_examples(files, labels, [2] * 120)
    found = judged_by(PETS, examples, Bundle(bundles / "pets", KEY), Bundle(champions / "another-size", KEY))
    assert (found.decision, found.score, found.champion_score) == ("promoted", 1, 1)
    assert found.reason.startswith("no worse, on 120 examples instead of 60: ")


def test_many_pictures_are_answered_one_by_one_each_as_it_is_alone(bundles, monkeypatch):
    files = [encode(draw(PETS.label_values[number % 2], number)) for number in range(7)]
    bundle, together = Bundle(bundles / "pets", KEY), []
    monkeypatch.setattr(bundle, "encode", lambda part: together.append(len(part)) or Bundle.encode(bundle, part))
    probabilities, novelty = bundle.predict(files)
    assert together == [1] * 7
    for number, file in enumerate(files):
        alone = bundle.predict([file])
        assert np.allclose(probabilities[number], alone[0][0], atol=1e-6)
        assert np.allclose(novelty[number], alone[1][0], rtol=1e-4)


def test_a_small_holdout_promotes_a_first_version_alone(bundles, champions):
    assert judged(bundles / "flowers", None, 300).decision == "promoted"
    found = judged(bundles / "flowers", champions / "label-lacking", 300)
    assert found.decision == "kept"
    assert "under 100: promote by hand" in found.reason


@pytest.fixture
def judging(make_settings, serve, store, tmp_path, bundles, champions):
    """A job whose registry has a weak champion 1 and a version 2 that is better; job.decide(version) judges."""
    mlflow = FakeMlflow(tmp_path / "mlflow")
    mlflow.register("flowers", "1", champions / "label-lacking")
    mlflow.register("flowers", "2", bundles / "flowers", champion=False)
    settings = make_settings("flowers", MLFLOW_TRACKING_URI=serve(mlflow.app).url)
    lease = acquire(store, "jobs/flowers/train.json", "train", 60)
    job = SimpleNamespace(pipeline=FLOWERS, settings=settings, registry=Registry(settings), objects=store, lease=lease)
    job.patience = lambda call: call()
    job.mlflow = mlflow

    def decided(version):
        scratch = tmp_path / f"scratch-{time.monotonic_ns()}"
        scratch.mkdir()
        return decide(job, flower_examples(), Bundle(mlflow.folder("flowers", version), KEY), version, scratch)

    job.decide = decided
    return job


def champion_of(job):
    return job.registry.version_of("flowers")


def test_a_better_one_becomes_champion_and_the_move_is_recorded(judging, store):
    found = judging.decide("2")
    assert (found.decision, champion_of(judging)) == ("promoted", "2")
    [move] = [record.body for record in history(store, "flowers", "alias")]
    assert (move["version"], move["previous"], move["reason"], move["by"]) == ("2", "1", found.reason, "gate")


def test_each_bundle_answers_the_holdout_once(judging, monkeypatch):
    answered, predict = [], Bundle.predict
    monkeypatch.setattr(
        Bundle,
        "predict",
        lambda self, inputs: answered.append((self.folder.name, len(inputs))) or predict(self, inputs),
    )
    ours, size = judging.mlflow.folder("flowers", "2").name, len(flower_examples().of(2)[0])
    judging.decide("2")
    assert answered == [(ours, size), ("champion", size)]


def test_a_version_that_was_rolled_back_before_it_was_judged_is_not_promoted_again(judging, store):
    judging.decide("2")  # and the job ended before it wrote the decision down
    assert rollback(store, judging.registry, "flowers") == ("1", "2")
    found = judging.decide("2")
    assert (found.decision, champion_of(judging)) == ("kept", "1")
    assert "it was rolled back" in found.reason


def test_a_move_that_could_not_be_told_keeps_its_own_reason(judging):
    first = judging.decide("2")
    again = judging.decide("2")
    assert (again.decision, again.reason) == ("promoted", first.reason)
    assert again.reason.startswith("better: accuracy 1.0000 against")


def test_an_alias_that_a_person_moved_to_a_version_without_a_decision_stays(judging):
    judging.mlflow.aliases["flowers", "champion"] = "2"
    found = judging.decide("2")
    assert (found.decision, champion_of(judging)) == ("promoted", "2")
    assert "moved by hand" in found.reason


def test_the_first_version_needs_the_floor_alone(judging):
    judging.mlflow.aliases.clear()
    assert judging.decide("2").reason.startswith("the first version")
    assert champion_of(judging) == "2"


def test_a_champion_that_changed_meanwhile_is_left(judging, bundles):
    judging.mlflow.register("flowers", "3", bundles / "flowers", champion=False)
    confirm = judging.lease.confirm
    asked = judging.registry.version_of

    def moved_by_a_person(name):
        if history(judging.objects, "flowers", "alias"):  # judged, and about to move the alias
            judging.mlflow.aliases["flowers", "champion"] = "3"
        return asked(name)

    judging.registry.version_of = moved_by_a_person
    found = judging.decide("2")
    assert confirm()
    assert (found.decision, champion_of(judging)) == ("superseded", "3")
    assert found.reason.startswith("the champion changed meanwhile; better")
    assert (found.champion_score, found.bound) != (None, None)


def test_who_lost_the_lease_neither_moves_the_alias_nor_judges(judging, store):
    judging.lease.seconds = 0.05
    judging.lease.confirm()
    time.sleep(0.1)  # its lease runs out
    with acquire(store, "jobs/flowers/train.json", "another", 60), pytest.raises(AlreadyRunning):
        judging.decide("2")
    assert champion_of(judging) == "1"
    assert judging.mlflow.versions["flowers", "2"] == {}


def test_a_champion_that_can_not_be_loaded_is_incomparable(judging):
    (judging.mlflow.folder("flowers", "1") / CONTRACT).write_text("{}")
    found = judging.decide("2")
    assert (found.decision, found.score, champion_of(judging)) == ("incomparable", 1, "1")
    assert found.reason.startswith("champion 1 can't be loaded")


@pytest.mark.parametrize("decision", ["promoted", "kept", "incomparable", "superseded"])
def test_a_result_is_kept_with_its_reason_and_the_decision_is_written_last(decision):
    tags = as_tags(Verdict(decision, "why", 0.9, 0.8, 0.1, 0.05))
    assert list(tags)[-1] == "sabueso.decision"
    assert (tags["sabueso.decision"], tags["sabueso.reason"]) == (decision, "why")
    assert json.loads(tags["sabueso.gate"]) == {"score": 0.9, "champion_score": 0.8, "gain": 0.1, "bound": 0.05}


def test_the_newest_move_to_a_version_gives_its_reason(judging, store):
    note_move("flowers", "2", "1", "the first time", "gate")(store)
    time.sleep(0.005)  # records are told apart by the millisecond
    note_move("flowers", "2", "1", "the last time", "gate")(store)
    judging.mlflow.aliases["flowers", "champion"] = "2"
    assert judging.decide("2").reason == "the last time"
