"""scripts/export writes exactly the snapshot, which reads back with the same fingerprint, and changes nothing else."""

import csv
import hashlib
from pathlib import Path

import pytest
from pyarrow import parquet

from common.csv_rows import csv_rows
from common.errors import Conflict
from common.inference.features import canonical_row, read_row
from common.inference.pictures import canonical_picture
from common.pipeline_files import read_pipelines
from common.storage.dataset import Dataset
from common.storage.executions import begin
from common.storage.training_record import TrainingRecord
from common.timestamps import timestamp
from conftest import wait_until
from fake_mlflow import FakeMlflow
from provenance import export, target
from provenance.formats import extra_names
from stored import add_rows, grow, listed
from train.snapshot import Split, fingerprint_of, read_examples, store_snapshot


@pytest.fixture
def flowers(make_settings, store, monkeypatch):
    return stored_data("flowers", make_settings, store, monkeypatch)


@pytest.fixture
def pets(make_settings, store, monkeypatch):
    return stored_data("pets", make_settings, store, monkeypatch)


def stored_data(name, make_settings, store, monkeypatch):
    """Pipeline, dataset and two snapshots. The newest training has no snapshot yet, the one before took the second."""
    settings = make_settings(name)
    for variable, value in settings.environment.items():
        monkeypatch.setenv(variable, value)
    pipeline, dataset = read_pipelines(settings.pipelines)[name], Dataset(store, name)
    snapshots = [grow(dataset, pipeline, step) for step in range(2)]
    for snapshot in (*snapshots, None):
        execution = begin(store, name, TrainingRecord.new(snapshot=snapshot))
        wait_until(lambda started=execution.record.started: timestamp() > started)  # names sort by time
    return pipeline, dataset, snapshots


def exported(name, file_format, out, *options, code=0):
    assert export.main([name, "--format", file_format, "--out", str(out), *options]) == code
    return out


def labels_and_splits(pipeline, dataset, snapshot):
    """hash -> (label, split) as the stored snapshot lists them."""
    body = listed(dataset, snapshot)
    return {name: (pipeline.label_values[label], Split(split).label) for name, label, split, *_ in body["examples"]}


def fingerprint(pipeline, pairs):
    return fingerprint_of((example, pipeline.label_values.index(label)) for example, label in pairs)


def hash_of_row(pipeline, row):
    """Hash and label, computed as for collected rows."""
    names = [column.name for column in pipeline.columns]
    raw = dict(zip(names, row, strict=True))
    label = raw.pop(pipeline.target.column)
    values, errors = read_row(raw, pipeline.inputs)
    assert not errors
    return hashlib.sha256(canonical_row(values)).hexdigest(), label


def test_an_exported_csv_reads_back_as_the_same_snapshot(flowers, tmp_path):
    pipeline, dataset, snapshots = flowers
    path = exported("flowers", "csv", tmp_path / "rows.csv")
    with path.open(newline="") as lines:
        again = [hash_of_row(pipeline, row) for row in csv_rows(lines, [column.name for column in pipeline.columns])]
    assert fingerprint(pipeline, again) == snapshots[1]
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["example"] for row in rows] == [example for example, _ in again]
    assert {row["example"]: (row["species"], row["part"]) for row in rows} == labels_and_splits(
        pipeline, dataset, snapshots[1]
    )


def test_a_parquet_file_of_rows_has_column_types_and_reads_back_as_the_same_snapshot(flowers, tmp_path):
    pipeline, dataset, snapshots = flowers
    table = parquet.read_table(
        exported("flowers", "parquet", tmp_path / "rows.parquet", "--snapshot", snapshots[0][:8])
    )
    assert {field.name: str(field.type) for field in table.schema} == {
        **{"petal": "double", "species": "string", "turn": "double", "colour": "string", "place": "string"},
        **{"part": "string", "example": "string", "sample": "string", "row": "int64"},
    }
    rows = table.to_pylist()
    again = [hash_of_row(pipeline, [row[column.name] for column in pipeline.columns]) for row in rows]
    assert fingerprint(pipeline, again) == snapshots[0]
    assert {row["example"]: (row["species"], row["part"]) for row in rows} == labels_and_splits(
        pipeline, dataset, snapshots[0]
    )


def test_folders_hold_the_pictures_as_received_and_read_back_as_the_same_snapshot(pets, tmp_path):
    pipeline, dataset, snapshots = pets
    root = exported("pets", "folders", tmp_path / "out")
    files = [path for path in root.rglob("*") if path.is_file()]
    placed = {path.stem: (path.parent.name, path.parent.parent.name) for path in files}
    assert placed == labels_and_splits(pipeline, dataset, snapshots[1])
    again = [(hashlib.sha256(canonical_picture(path.read_bytes())).hexdigest(), path.parent.name) for path in files]
    assert fingerprint(pipeline, again) == snapshots[1]
    assert sorted(example for example, _ in again) == sorted(path.stem for path in files)
    bodies = {body for _, body in dataset.bodies(dataset.samples())}
    assert {path.read_bytes() for path in files} <= bodies
    assert {path.suffix for path in files} == {".jpg", ".png"}


def test_a_parquet_file_of_pictures_holds_the_files(pets, tmp_path):
    pipeline, dataset, snapshots = pets
    rows = parquet.read_table(exported("pets", "parquet", tmp_path / "p")).to_pylist()
    again = [(hashlib.sha256(canonical_picture(row["picture"])).hexdigest(), row["label"]) for row in rows]
    assert fingerprint(pipeline, again) == snapshots[1]
    assert {row["example"]: (row["label"], row["part"]) for row in rows} == labels_and_splits(
        pipeline, dataset, snapshots[1]
    )


def test_a_csv_of_pictures_lists_labels_and_samples(pets, tmp_path):
    pipeline, dataset, snapshots = pets
    with exported("pets", "csv", tmp_path / "list.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert fingerprint(pipeline, [(row["example"], row["label"]) for row in rows]) == snapshots[1]
    assert all(dataset.store.get(row["sample"]) is not None for row in rows)


def test_the_snapshot_of_a_version_comes_from_its_tags_in_mlflow(flowers, tmp_path, serve, monkeypatch, capsys):
    pipeline, dataset, snapshots = flowers
    mlflow = FakeMlflow(tmp_path / "mlflow")
    mlflow.versions["flowers", "1"] = {"sabueso.snapshot": snapshots[0]}
    mlflow.aliases["flowers", "champion"] = "1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", serve(mlflow.app).url)
    exported("flowers", "csv", tmp_path / "rows.csv", "--version", "champion")
    assert f"{len(labels_and_splits(pipeline, dataset, snapshots[0]))} examples of snapshot {snapshots[0]}" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("file_format", ["csv", "folders"])
def test_an_earlier_export_is_replaced_only_with_overwrite(pets, tmp_path, capsys, file_format):
    out = tmp_path / "out"
    exported("pets", file_format, out)
    before = sorted((path, path.is_file() and path.read_bytes()) for path in (out, *out.rglob("*")))
    mark = out / "train" / "mark" if file_format == "folders" else out
    mark.write_text("mine")
    exported("pets", file_format, out, code=1)
    assert "--overwrite" in capsys.readouterr().err
    assert mark.read_text() == "mine"
    exported("pets", file_format, out, "--overwrite")
    assert sorted((path, path.is_file() and path.read_bytes()) for path in (out, *out.rglob("*"))) == before


def test_a_folder_that_is_not_an_export_is_never_replaced(pets, tmp_path, capsys):
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    exported("pets", "folders", home, "--overwrite", code=1)
    assert "letter.txt, so it is not an export" in capsys.readouterr().err
    exported("pets", "csv", home, "--overwrite", code=1)
    assert [path.name for path in home.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("file_format", ["csv", "parquet", "folders"])
def test_a_failed_export_leaves_no_files(pets, tmp_path, capsys, file_format):
    _, dataset, snapshots = pets
    parent = tmp_path / "parent"
    parent.mkdir()
    last = listed(dataset, snapshots[1])["samples"][-1]
    dataset.store.put(last, dataset.store.get(listed(dataset, snapshots[1])["samples"][0]).body)
    exported("pets", file_format, parent / "out", code=1)
    assert "no longer holds the example" in capsys.readouterr().err
    assert list(parent.iterdir()) == []


def test_impossible_exports_fail_with_the_reason(flowers, tmp_path, capsys, store):
    exported("flowers", "folders", tmp_path / "out", code=1)
    assert "folders are for pictures" in capsys.readouterr().err
    exported("flowers", "csv", tmp_path / "none" / "rows.csv", code=1)
    assert f"no folder {tmp_path / 'none'}" in capsys.readouterr().err
    for key in list(store.list("jobs/")):
        store.delete(key)
    exported("flowers", "csv", tmp_path / "rows.csv", code=1)
    assert "no training of flowers has taken a snapshot yet" in capsys.readouterr().err


def test_added_columns_do_not_collide_with_those_of_the_pipeline(make_settings):
    folder = make_settings("flowers").pipelines
    text = (folder / "flowers.toml").read_text()
    (folder / "flowers.toml").write_text(text.replace('name = "place"', 'name = "part"'))
    assert extra_names(read_pipelines(folder)["flowers"]) == ("part_", "example", "sample", "row")


def test_numbers_are_exported_with_all_their_digits(flowers, tmp_path):
    pipeline, dataset, _ = flowers
    rows = [[value, "small", "51", "red", "sun"] for value in ("0.1", "1e-7", "99.99999999999999", "51", "-0.0")]
    add_rows(dataset, 9, rows)
    snapshot = store_snapshot(dataset, read_examples(pipeline, dataset, dataset.samples()))
    path = exported("flowers", "csv", tmp_path / "rows.csv", "--snapshot", snapshot)
    with path.open(newline="") as lines:
        again = [hash_of_row(pipeline, row) for row in csv_rows(lines, [column.name for column in pipeline.columns])]
    assert fingerprint(pipeline, again) == snapshot
    assert "\n51,small,51,red,sun," in Path(path).read_text()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_created_during_the_export_is_not_changed(tmp_path, overwrite):
    out = tmp_path / "pictures"
    with (
        pytest.raises(Conflict, match="was not changed"),
        target.atomic_target(out, is_folder=True, overwrite=overwrite) as temporary,
    ):
        (temporary / "train").mkdir()
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    assert (out / "mine.txt").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]
