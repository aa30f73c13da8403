"""A pipeline is one file: valid ones load, a wrong one is refused with every mistake, each at its key."""

import copy
import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from common.errors import NotFound, WrongSettings
from common.pipeline_files import parse_pipeline, read_pipeline_heads, read_pipelines
from common.pipelines import Backbone, Gate, Pipeline, Source, Title, Weights, pick
from fetch_batch.errors import SourceUnavailable
from fetch_batch.sources.variables import resolve

FUNCTIONS = Path(__file__).parents[2] / "functions"
FLOWERS_FILE = Path(__file__).parents[1] / "pipelines" / "flowers.toml"
FLOWERS = tomllib.loads(FLOWERS_FILE.read_text())
PETS = tomllib.loads((FUNCTIONS / "pipelines" / "pets.toml").read_text())


def altered(raw, path, value):
    """A copy with the value at a dotted path changed; `...` removes the key."""
    raw = copy.deepcopy(raw)
    *parents, last = path.split(".")
    place = raw
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    if value is ...:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return raw


def mistakes(raw, name):
    """The detail of every mistake by its key; empty for a valid file."""
    try:
        parse_pipeline(raw, name)
    except WrongSettings as error:
        assert all(one.detail for one in error.errors)
        assert len({one.field for one in error.errors}) == len(error.errors)
        return {one.field: one.detail for one in error.errors}
    return {}


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
    ("path", "value", "key"),
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
        ("source.params", {"group": 1}, "source.params.group"),
        ("source", "a text", "source"),
        ("columns", [], "columns"),
        ("columns", ["petal"], "columns[0]"),
        ("columns", [{"name": "species", "type": "category"}], "columns"),
        ("columns.0.type", "date", "columns[0].type"),
        ("columns.0.type", ..., "columns[0].type"),
        ("columns.0.min", 200, "columns[0].min"),
        ("columns.0.min", "zero", "columns[0].min"),
        ("columns.0.values", ["1"], "columns[0].values"),
        ("columns.0.title", {"en": 3}, "columns[0].title.en"),
        ("columns.2.cyclic", 0, "columns[2].cyclic"),
        ("columns.3.name", "petal", "columns[3].name"),
        ("columns.3.cyclic", 7, "columns[3].cyclic"),
        ("columns.4.values", [1, 2], "columns[4].values[0]"),
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
def test_a_wrong_file_is_refused_with_the_key_of_the_mistake(path, value, key):
    assert key in mistakes(altered(FLOWERS, path, value), "flowers")


@pytest.mark.parametrize(
    ("text", "detail"),
    [("", "must not be empty"), (" red", "begins or ends with a space"), ("red\t", "begins or ends with a space")],
)
@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("target.labels.0.value", "target.labels[0].value"),
        ("columns.4.values.0", "columns[4].values[0]"),
        ("columns.3.name", "columns[3].name"),
    ],
)
def test_a_label_value_or_column_name_that_is_empty_or_padded_is_refused(path, key, text, detail):
    assert mistakes(altered(FLOWERS, path, text), "flowers")[key].endswith(detail)


@pytest.mark.parametrize("text", ["a/b", "a\\b", "a\nb", "a\x00b", ".", ".."])
def test_a_picture_label_that_can_t_name_a_folder_is_refused(text):
    found = mistakes(altered(PETS, "target.labels.1.value", text), "pets")
    assert found == {"target.labels[1].value": f"{text!r} can't be the name of a folder"}
    # Rows have no folders: only a picture's label must be the name of one.
    assert mistakes(altered(FLOWERS, "target.labels.1.value", text), "flowers") == {}


def test_a_picture_pipeline_has_no_columns():
    assert list(mistakes({**PETS, "columns": FLOWERS["columns"]}, "pets")) == ["columns"]


@pytest.mark.parametrize(
    ("folders", "mistake"),
    [
        (["Cats", "Katze"], None),
        (["a/b"], ("target.labels[0].folders[0]", "'a/b' can't be the name of a folder")),
        (["..", ""], ("target.labels[0].folders[0]", "'..' can't be the name of a folder")),
        ([" Cats"], ("target.labels[0].folders[0]", "' Cats' begins or ends with a space")),
        ([3], ("target.labels[0].folders[0]", "must be a valid string")),
        (["DOG"], ("target.labels[0].folders", "'DOG' is a folder of 'dog'")),
    ],
)
def test_further_folder_names_of_a_label_are_checked(folders, mistake):
    raw = {**PETS, "target": {"labels": [{"value": "cat", "folders": folders}, {"value": "dog"}]}}
    if mistake is None:
        assert parse_pipeline(raw, "pets").labels[0].folders == folders
    else:
        assert mistake in mistakes(raw, "pets").items()


def test_labels_of_a_table_have_no_folders():
    labels = [{**label, "folders": ["a"]} for label in FLOWERS["target"]["labels"]]
    raw = {**FLOWERS, "target": {**FLOWERS["target"], "labels": labels}}
    assert "target.labels[0].folders" in mistakes(raw, "flowers")


SUM = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("train", "keys"),
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
def test_a_backbone_and_its_weights_are_checked_at_start(train, keys):
    assert list(mistakes({**PETS, "train": train}, "pets")) == keys


def test_an_unknown_backbone_is_refused_naming_the_known_ones():
    detail = mistakes({**PETS, "train": {"backbone": "vgg"}}, "pets")["train.backbone"]
    assert all(name in detail for name in Backbone.__args__)


@pytest.mark.parametrize(
    ("path", "table", "key"),
    [
        ("nmae", Pipeline, "nmae"),
        ("title.fr", Title, "title.fr"),
        ("source.pth", Source, "source.pth"),
        ("gate.flor", Gate, "gate.flor"),
    ],
)
def test_an_unknown_key_is_refused_listing_the_known_ones(path, table, key):
    raw = altered({"gate": {}, **FLOWERS}, path, "a text")
    assert mistakes(raw, "flowers")[key] == f"unknown key; known are: {', '.join(table.model_fields)}"


def test_a_picture_pipeline_starts_from_a_pretrained_network_unless_its_file_says_otherwise():
    variants = [{}, {"backbone": "none"}, {"backbone": "resnet50", "weights": "imagenet"}, {"image_size": 96}]
    pipelines = [parse_pipeline({**PETS, "train": train}, "pets") for train in variants]
    assert [one.backbone for one in pipelines] == ["efficientnet_lite0", "none", "resnet50", "efficientnet_lite0"]
    assert [one.is_pretrained for one in pipelines] == [True, False, True, True]
    assert [one.image_size for one in pipelines] == [160, 64, 160, 96]
    assert not parse_pipeline(FLOWERS, "flowers").is_pretrained


def test_the_sha256_of_weights_is_read_in_lower_case():
    train = {"backbone": "resnet50", "weights": {"path": "/a/file.h5", "sha256": SUM.upper()}}
    assert parse_pipeline({**PETS, "train": train}, "pets").weights == Weights(path="/a/file.h5", sha256=SUM)


def test_a_batch_api_needs_an_address_and_its_number_of_batches():
    assert list(mistakes({**FLOWERS, "source": {"type": "batch-api"}}, "flowers")) == ["source.url", "source.batches"]


def test_every_mistake_of_every_file_is_in_one_message(tmp_path):
    (tmp_path / "broken.toml").write_text("name = ")
    (tmp_path / "two.toml").write_text('name = "one"\nkind = "video"\n[title]\n[source]\n[target]\n')
    with pytest.raises(WrongSettings) as refused:
        read_pipelines(tmp_path)
    fields = [error.field for error in refused.value.errors]
    assert fields[0] == "broken.toml"
    assert {"two.toml: name", "two.toml: kind", "two.toml: title.en", "two.toml: target.labels"} <= set(fields)
    assert all(field in refused.value.detail for field in fields)


def test_a_folder_without_pipeline_files_is_refused(tmp_path):
    with pytest.raises(WrongSettings, match="holds no pipeline file"):
        read_pipelines(tmp_path)


def test_a_byte_order_mark_before_a_file_is_accepted(tmp_path):
    (tmp_path / "flowers.toml").write_bytes(b"\xef\xbb\xbf" + FLOWERS_FILE.read_bytes())
    assert read_pipelines(tmp_path)["flowers"].label_values == ("small", "middle", "large")


def test_classify_reads_a_file_whose_other_keys_it_does_not_know(tmp_path):
    (tmp_path / "flowers.toml").write_text('name = "flowers"\nkind = "tabular"\ntitle = { en = "Flowers" }\nnew = 1\n')
    head = read_pipeline_heads(tmp_path)["flowers"]
    assert (head.kind, head.title.es) == ("tabular", "Flowers")


@pytest.mark.parametrize(
    "file", [FLOWERS_FILE, *sorted((FUNCTIONS / "pipelines").glob("*.toml"))], ids=lambda file: file.stem
)
def test_pipeline_files_are_valid_under_the_model_s_json_schema(file):
    schema = Pipeline.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(schema)))
    raw = tomllib.loads(file.read_text())
    validator.validate(raw)
    assert not validator.is_valid(altered(raw, "kind", "video"))
    assert not validator.is_valid({**raw, "nmae": "typo"})


def test_titles_have_both_languages_even_if_the_file_has_none():
    pipeline = parse_pipeline(FLOWERS, "flowers")
    assert pipeline.columns[0].title.model_dump() == {"en": "petal", "es": "petal"}
    assert pipeline.labels[0].title == {"en": "Small one", "es": "Pequeña"}


def test_missing_keys_get_their_documented_default():
    pipeline = parse_pipeline(FLOWERS, "flowers")
    assert (pipeline.train.budget_s, pipeline.train.seed) == (300, 7)
    assert (pipeline.backbone, pipeline.weights) == ("", None)
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
def test_variables_of_a_source_get_the_environment_s_value_or_their_default(text, environment, result):
    assert resolve(text, environment) == result


def test_an_error_names_a_variable_without_a_value():
    with pytest.raises(SourceUnavailable, match="variable HOST"):
        resolve("${HOST}", {})


def test_reading_a_pipeline_file_resolves_no_variable():
    assert parse_pipeline(PETS, "pets").source.path == "${PETS_SOURCE}"


def test_an_unknown_pipeline_is_not_found_naming_the_known_ones():
    with pytest.raises(NotFound, match="there are: flowers"):
        pick({"flowers": parse_pipeline(FLOWERS, "flowers")}, "roses")
