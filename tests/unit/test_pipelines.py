"""A pipeline is one file: right ones load, wrong ones are refused with every mistake and its key."""

import copy
import tomllib
from pathlib import Path

import pytest

from common.errors import NotFound, SourceUnavailable, WrongSettings
from common.pipeline_keys import BACKBONES, check
from common.pipelines import Weights, make_pipeline, pick, read_pipelines, resolve

FUNCTIONS = Path(__file__).parents[2] / "functions"
FLOWERS = tomllib.loads((Path(__file__).parents[1] / "pipelines" / "flowers.toml").read_text())
PETS = tomllib.loads((FUNCTIONS / "pipelines" / "pets.toml").read_text())


def altered(raw, path, value):
    """A copy with the value at a dotted path changed; `...` takes the key away."""
    raw = copy.deepcopy(raw)
    *parts, last = path.split(".")
    place = raw
    for part in parts:
        place = place[int(part) if part.isdigit() else part]
    if value is ...:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return raw


def test_the_shipped_files_load():
    pipelines = read_pipelines(FUNCTIONS / "pipelines")
    assert sorted(pipelines) == ["covertype", "pets"]
    covertype = pipelines["covertype"]
    assert (covertype.kind, covertype.source.type, len(covertype.columns), len(covertype.inputs)) == (
        *("tabular", "batch-api"),
        *(13, 12),
    )
    assert (covertype.source.batches, covertype.source.samples_per_batch) == (10, 8)
    assert covertype.label_values == tuple("0123456")
    assert (pipelines["pets"].kind, pipelines["pets"].label_values) == ("image", ("cat", "dog"))


def test_the_code_names_no_task():
    for file in FUNCTIONS.rglob("*.py"):
        text = file.read_text().lower()
        assert not any(word in text for word in ("covertype", "soil_type", "elevation", "pets")), file


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("name", "other", "name"),
        ("name", ..., "name"),
        ("kind", "video", "kind"),
        ("nmae", "typo", "nmae"),
        ("title", {"es": "sin inglés"}, "title.en"),
        ("title", {"en": 3}, "title.en"),
        ("source.type", "ftp", "source.type"),
        ("source.type", "images", "source.type"),
        ("source.path", ..., "source.path"),
        ("source.examples_per_fetch", 0, "source.examples_per_fetch"),
        ("source.examples_per_fetch", True, "source.examples_per_fetch"),
        ("source.min_interval_s", -1, "source.min_interval_s"),
        ("source.params", {"group": 1}, "source.params"),
        ("source", "a text", "source"),
        ("columns", [], "columns"),
        ("columns", ["petal"], "columns[0]"),
        ("columns", [{"name": "species", "type": "category"}], "columns"),
        ("columns.0.type", "date", "columns[0].type"),
        ("columns.0.type", ..., "columns[0].type"),
        ("columns.0.min", 200, "columns[0].min"),
        ("columns.0.values", ["1"], "columns[0].values"),
        ("columns.0.title", {"en": 3}, "columns[0].title.en"),
        ("columns.2.cyclic", 0, "columns[2].cyclic"),
        ("columns.3.name", "petal", "columns[3].name"),
        ("columns.3.cyclic", 7, "columns[3].cyclic"),
        ("columns.4.values", [1, 2], "columns[4].values"),
        ("target.column", "colour of the sky", "target.column"),
        ("target.labels", [{"value": "small"}], "target.labels"),
        ("target.labels.1.value", "small", "target.labels"),
        ("target.labels.1.value", ["small"], "target.labels[1].value"),
        ("target.labels.1.value", ..., "target.labels[1].value"),
        ("trigger.new_examples", 0, "trigger.new_examples"),
        ("train", {"budget_s": 0}, "train.budget_s"),
        ("train", {"image_size": 16}, "train.image_size"),
        ("train", {"backbone": "resnet50"}, "train.backbone"),
        ("train", {"weights": {"path": "/a/file", "sha256": "0" * 64}}, "train.weights"),
        ("gate", {"metric": "luck"}, "gate.metric"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key_of_the_mistake(path, value, field):
    found = check(altered(FLOWERS, path, value), "flowers")
    assert field in [error.field for error in found]
    assert all(error.detail for error in found)


def test_a_picture_pipeline_has_no_columns():
    found = check({**PETS, "columns": FLOWERS["columns"]}, "pets")
    assert [error.field for error in found] == ["columns"]


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (["Cats", "Katze"], None),
        (["a/b"], "must be the name of a folder"),
        ([3], "must be the name of a folder"),
        (["DOG"], "'DOG' is a folder of 'dog'"),
    ],
)
def test_further_names_of_a_labels_folders_are_checked(folders, told):
    labels = [{"value": "cat", "folders": folders}, {"value": "dog"}]
    found = check({**PETS, "target": {"labels": labels}}, "pets")
    if told:
        assert [(error.field, error.detail.endswith(told)) for error in found] == [("target.labels[0].folders", True)]
    else:
        assert found == []
        assert make_pipeline({**PETS, "target": {"labels": labels}}).labels[0].folders == tuple(folders)


def test_a_table_has_no_folders():
    labels = [{**one, "folders": ["a"]} for one in FLOWERS["target"]["labels"]]
    found = check({**FLOWERS, "target": {**FLOWERS["target"], "labels": labels}}, "flowers")
    assert "target.labels[0].folders" in [error.field for error in found]


SUM = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("train", "fields"),
    [
        ({"backbone": "resnet50"}, []),
        ({"backbone": "resnet50", "weights": {"path": "/a/file.h5", "sha256": SUM}}, []),
        ({"backbone": "resnet50", "weights": {"path": "https://host/file.h5?key=1", "sha256": SUM.upper()}}, []),
        ({"backbone": "resnet50", "weights": {"path": "s3://bucket/file.h5", "sha256": SUM}}, []),
        ({"backbone": "resnet5000"}, ["train.backbone"]),
        ({"backbone": 50}, ["train.backbone"]),
        ({"backbone": "resnet50", "weights": "imagenet"}, []),
        ({"backbone": "none"}, []),
        ({"weights": "imagenet"}, []),
        ({"weights": {"path": "/a/file.h5", "sha256": SUM}}, ["train.weights"]),
        ({"backbone": "none", "weights": "imagenet"}, ["train.weights"]),
        ({"backbone": "resnet50", "weights": "/a/file.h5"}, ["train.weights"]),
        ({"backbone": "resnet50", "weights": {}}, ["train.weights.path", "train.weights.sha256"]),
        ({"backbone": "resnet50", "weights": {"path": "/a/file.h5"}}, ["train.weights.sha256"]),
        ({"backbone": "resnet50", "weights": {"path": "", "sha256": SUM}}, ["train.weights.path"]),
        ({"backbone": "resnet50", "weights": {"path": 3, "sha256": SUM}}, ["train.weights.path"]),
        ({"backbone": "resnet50", "weights": {"path": "ftp://host/file", "sha256": SUM}}, ["train.weights.path"]),
        ({"backbone": "resnet50", "weights": {"path": "${FILE}", "sha256": SUM}}, ["train.weights.path"]),
        ({"backbone": "resnet50", "weights": {"path": "/a", "sha256": SUM, "md5": SUM}}, ["train.weights.md5"]),
        (
            {"backbone": "vgg", "weights": {"path": "${FILE}", "sha256": SUM[1:]}},
            ["train.backbone", "train.weights.path", "train.weights.sha256"],
        ),
    ],
)
def test_a_backbone_and_its_weights_are_checked_at_the_start(train, fields):
    found = check({**PETS, "train": train}, "pets")
    assert [error.field for error in found] == fields


def test_an_unknown_backbone_is_told_those_that_there_are():
    (found,) = check({**PETS, "train": {"backbone": "vgg"}}, "pets")
    assert all(name in found.detail for name in BACKBONES)


def test_a_picture_pipeline_begins_from_what_is_known_unless_its_file_says_otherwise():
    chosen = [{}, {"backbone": "none"}, {"backbone": "resnet50", "weights": "imagenet"}, {"image_size": 96}]
    found = [make_pipeline({**PETS, "train": train}) for train in chosen]
    assert [one.train.backbone for one in found] == ["efficientnet_lite0", "none", "resnet50", "efficientnet_lite0"]
    assert [one.pretrained for one in found] == [True, False, True, True]
    assert [one.train.image_size for one in found] == [160, 64, 160, 96]
    assert not make_pipeline(FLOWERS).pretrained


def test_weights_have_their_sum_in_small_letters():
    train = {"backbone": "resnet50", "weights": {"path": "/a/file.h5", "sha256": SUM.upper()}}
    assert make_pipeline({**PETS, "train": train}).train.weights == Weights("/a/file.h5", SUM)


def test_a_batch_api_says_where_it_is_and_how_many_batches_it_has():
    raw = {**FLOWERS, "source": {"type": "batch-api"}}
    assert [error.field for error in check(raw, "flowers")] == ["source.url", "source.batches"]


def test_every_mistake_of_every_file_is_in_one_message(tmp_path):
    (tmp_path / "broken.toml").write_text("name = ")
    (tmp_path / "two.toml").write_text('name = "one"\nkind = "video"\n[title]\n[source]\n[target]\n')
    with pytest.raises(WrongSettings) as caught:
        read_pipelines(tmp_path)
    fields = [error.field for error in caught.value.errors]
    assert fields[0] == "broken.toml"
    assert {"two.toml: name", "two.toml: kind", "two.toml: title.en", "two.toml: target.labels"} <= set(fields)
    assert all(field in caught.value.detail for field in fields)


def test_a_folder_without_pipelines_is_refused(tmp_path):
    with pytest.raises(WrongSettings, match="holds no pipeline file"):
        read_pipelines(tmp_path)


def test_titles_have_both_languages_even_where_the_file_has_none():
    pipeline = make_pipeline(FLOWERS)
    assert pipeline.columns[0].title == {"en": "petal", "es": "petal"}
    assert pipeline.labels[0].as_dict() == {"value": "small", "en": "Small one", "es": "Pequeña"}


def test_what_is_left_out_gets_the_documented_default():
    pipeline = make_pipeline(FLOWERS)
    assert (pipeline.train.budget_s, pipeline.train.seed) == (300, 7)
    assert (pipeline.train.backbone, pipeline.train.weights) == ("", None)
    assert (pipeline.gate.metric, pipeline.gate.floor, pipeline.gate.min_gain) == ("macro_f1", 0.5, 0.002)


@pytest.mark.parametrize(
    ("text", "environment", "result"),
    [
        ("${GROUP:-1}", {}, "1"),
        ("${GROUP:-1}", {"GROUP": "7"}, "7"),
        ("${GROUP:-1}", {"GROUP": ""}, "1"),
        ("http://${HOST}:${PORT:-80}/x", {"HOST": "here"}, "http://here:80/x"),
        ("plain", {}, "plain"),
    ],
)
def test_names_in_a_source_take_the_environments_value_or_their_default(text, environment, result):
    assert resolve(text, environment) == result


def test_a_name_without_value_is_told():
    with pytest.raises(SourceUnavailable, match="variable HOST"):
        resolve("${HOST}", {})


def test_names_stay_unresolved_until_something_is_collected():
    assert make_pipeline(PETS).source.path == "${PETS_SOURCE}"


def test_an_unknown_pipeline_is_not_found_and_the_known_ones_are_named():
    with pytest.raises(NotFound, match="there are: flowers"):
        pick({"flowers": make_pipeline(FLOWERS)}, "roses")
