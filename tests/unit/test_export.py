"""scripts/export: what it writes is the snapshot, read again it has the same name, and nothing else is touched."""

import csv
import hashlib
from pathlib import Path

import pytest
from pyarrow import parquet

from common.datasets import Dataset, csv_rows
from common.errors import Conflict
from common.executions import begin, timestamp
from common.features import canonical_row, read_row
from common.pictures import canonical_picture
from common.pipelines import read_pipelines
from conftest import wait_until
from fake_mlflow import FakeMlflow
from provenance import export, target
from provenance.formats import extra_names
from stored import add_rows, grow, listed
from train.snapshot import fingerprint_of, read_examples, store_snapshot


@pytest.fixture
def flowers(make_settings, store, monkeypatch):
    return kept_of("flowers", make_settings, store, monkeypatch)


@pytest.fixture
def pets(make_settings, store, monkeypatch):
    return kept_of("pets", make_settings, store, monkeypatch)


def kept_of(name, make_settings, store, monkeypatch):
    """Pipeline, dataset and two snapshots; the newest training took the second."""
    settings = make_settings(name)
    for variable, value in settings.environment.items():
        monkeypatch.setenv(variable, value)
    pipeline, dataset = read_pipelines(settings.pipelines)[name], Dataset(store, name)
    snapshots = [grow(dataset, pipeline, step) for step in range(2)]
    for snapshot in (*snapshots, None):
        record = begin(store, name, "train", {"snapshot": snapshot})
        wait_until(lambda started=record.body["started"]: timestamp() > started)  # one after another by their names
    return pipeline, dataset, snapshots


def written(name, form, out, *words, code=0):
    assert export.main([name, "--format", form, "--out", str(out), *words]) == code
    return out


def known_of(pipeline, dataset, snapshot):
    """hash -> (label, part) as the snapshot's file has them."""
    parts = ("train", "tune", "holdout")
    body = listed(dataset, snapshot)
    return {name: (pipeline.label_values[label], parts[part]) for name, label, part, *_ in body["examples"]}


def named(pipeline, pairs):
    return fingerprint_of((example, pipeline.label_values.index(label)) for example, label in pairs)


def hash_of_row(pipeline, row):
    """By the way that collected rows go."""
    names = [column.name for column in pipeline.columns]
    raw = dict(zip(names, row, strict=True))
    label = raw.pop(pipeline.target)
    values, errors = read_row(raw, pipeline.input_columns())
    assert not errors
    return hashlib.sha256(canonical_row(values)).hexdigest(), label


def test_a_csv_read_again_gives_the_same_snapshot(flowers, tmp_path):
    pipeline, dataset, snapshots = flowers
    path = written("flowers", "csv", tmp_path / "rows.csv")
    with path.open(newline="") as lines:
        again = [hash_of_row(pipeline, row) for row in csv_rows(lines, [one.name for one in pipeline.columns])]
    assert named(pipeline, again) == snapshots[1]
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["example"] for row in rows] == [example for example, _ in again]
    assert {row["example"]: (row["species"], row["part"]) for row in rows} == known_of(pipeline, dataset, snapshots[1])


def test_a_parquet_of_rows_has_their_types_and_gives_the_same_snapshot(flowers, tmp_path):
    pipeline, dataset, snapshots = flowers
    table = parquet.read_table(written("flowers", "parquet", tmp_path / "rows.parquet", "--snapshot", snapshots[0][:8]))
    assert {field.name: str(field.type) for field in table.schema} == {
        **{"petal": "double", "species": "string", "turn": "double", "colour": "string", "place": "string"},
        **{"part": "string", "example": "string", "sample": "string", "row": "int64"},
    }
    rows = table.to_pylist()
    again = [hash_of_row(pipeline, [row[one.name] for one in pipeline.columns]) for row in rows]
    assert named(pipeline, again) == snapshots[0]
    assert {row["example"]: (row["species"], row["part"]) for row in rows} == known_of(pipeline, dataset, snapshots[0])


def test_folders_hold_the_pictures_as_they_were_received_and_give_the_same_snapshot(pets, tmp_path):
    pipeline, dataset, snapshots = pets
    root = written("pets", "folders", tmp_path / "out")
    files = [path for path in root.rglob("*") if path.is_file()]
    found = {path.stem: (path.parent.name, path.parent.parent.name) for path in files}
    assert found == known_of(pipeline, dataset, snapshots[1])
    again = [(hashlib.sha256(canonical_picture(path.read_bytes())).hexdigest(), path.parent.name) for path in files]
    assert named(pipeline, again) == snapshots[1]
    assert sorted(example for example, _ in again) == sorted(path.stem for path in files)
    bodies = {body for _, body in dataset.bodies(dataset.samples())}
    assert {path.read_bytes() for path in files} <= bodies
    assert {path.suffix for path in files} == {".jpg", ".png"}


def test_a_parquet_of_pictures_holds_the_files(pets, tmp_path):
    pipeline, dataset, snapshots = pets
    rows = parquet.read_table(written("pets", "parquet", tmp_path / "p")).to_pylist()
    again = [(hashlib.sha256(canonical_picture(row["picture"])).hexdigest(), row["label"]) for row in rows]
    assert named(pipeline, again) == snapshots[1]
    assert {row["example"]: (row["label"], row["part"]) for row in rows} == known_of(pipeline, dataset, snapshots[1])


def test_a_csv_of_pictures_lists_them(pets, tmp_path):
    pipeline, dataset, snapshots = pets
    with written("pets", "csv", tmp_path / "list.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert named(pipeline, [(row["example"], row["label"]) for row in rows]) == snapshots[1]
    assert all(dataset.objects.get(row["sample"]) is not None for row in rows)


def test_the_snapshot_of_a_version_is_asked_of_mlflow(flowers, tmp_path, serve, monkeypatch, capsys):
    pipeline, dataset, snapshots = flowers
    mlflow = FakeMlflow(tmp_path / "mlflow")
    mlflow.versions["flowers", "1"] = {"sabueso.snapshot": snapshots[0]}
    mlflow.aliases["flowers", "champion"] = "1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", serve(mlflow.app).url)
    written("flowers", "csv", tmp_path / "rows.csv", "--version", "champion")
    assert f"{len(known_of(pipeline, dataset, snapshots[0]))} examples of snapshot {snapshots[0]}" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("form", ["csv", "folders"])
def test_what_is_there_is_left_unless_it_is_said_and_is_an_export(pets, tmp_path, capsys, form):
    out = tmp_path / "out"
    written("pets", form, out)
    before = sorted((path, path.is_file() and path.read_bytes()) for path in (out, *out.rglob("*")))
    mark = out / "train" / "mark" if form == "folders" else out
    mark.write_text("mine")
    written("pets", form, out, code=1)
    assert "--overwrite" in capsys.readouterr().err
    assert mark.read_text() == "mine"
    written("pets", form, out, "--overwrite")
    assert sorted((path, path.is_file() and path.read_bytes()) for path in (out, *out.rglob("*"))) == before


def test_no_folder_of_one_s_own_is_replaced(pets, tmp_path, capsys):
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    written("pets", "folders", home, "--overwrite", code=1)
    assert "letter.txt, which no export makes" in capsys.readouterr().err
    written("pets", "csv", home, "--overwrite", code=1)
    assert [path.name for path in home.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("form", ["csv", "parquet", "folders"])
def test_an_export_that_fails_on_its_way_leaves_nothing_behind(pets, tmp_path, capsys, form):
    _, dataset, snapshots = pets
    place = tmp_path / "place"
    place.mkdir()
    last = listed(dataset, snapshots[1])["samples"][-1]
    dataset.objects.put(last, dataset.objects.get(listed(dataset, snapshots[1])["samples"][0]).body)
    written("pets", form, place / "out", code=1)
    assert "no longer holds the example" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_what_can_t_be_is_told(flowers, tmp_path, capsys, store):
    written("flowers", "folders", tmp_path / "out", code=1)
    assert "folders are for pictures" in capsys.readouterr().err
    written("flowers", "csv", tmp_path / "none" / "rows.csv", code=1)
    assert f"no folder {tmp_path / 'none'}" in capsys.readouterr().err
    for key in list(store.list("jobs/")):
        store.delete(key)
    written("flowers", "csv", tmp_path / "rows.csv", code=1)
    assert "no training of flowers has taken a snapshot yet" in capsys.readouterr().err


def test_columns_that_the_pipeline_has_itself_keep_their_names(make_settings):
    folder = make_settings("flowers").pipelines
    text = (folder / "flowers.toml").read_text()
    (folder / "flowers.toml").write_text(text.replace('name = "place"', 'name = "part"'))
    assert extra_names(read_pipelines(folder)["flowers"]) == ("part_", "example", "sample", "row")


def test_numbers_are_written_with_all_their_digits(flowers, tmp_path):
    pipeline, dataset, _ = flowers
    rows = [[value, "small", "51", "red", "sun"] for value in ("0.1", "1e-7", "99.99999999999999", "51", "-0.0")]
    add_rows(dataset, 9, rows)
    name = store_snapshot(dataset, read_examples(pipeline, dataset, dataset.samples()))
    path = written("flowers", "csv", tmp_path / "rows.csv", "--snapshot", name)
    with path.open(newline="") as lines:
        again = [hash_of_row(pipeline, row) for row in csv_rows(lines, [one.name for one in pipeline.columns])]
    assert named(pipeline, again) == name
    assert "\n51,small,51,red,sun," in Path(path).read_text()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_somebody_made_meanwhile_is_left_as_it_is(tmp_path, overwrite):
    out = tmp_path / "pictures"
    with (
        pytest.raises(Conflict, match="left as it is"),
        target.written(out, folder=True, overwrite=overwrite) as beside,
    ):
        (beside / "train").mkdir()
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    assert (out / "mine.txt").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]
