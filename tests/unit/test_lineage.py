"""scripts/lineage: from a version to its samples and examples, and from these to the versions."""

import csv
import io
import json

import pytest

from common.pipeline_files import read_pipelines
from common.storage.dataset import Dataset
from fake_mlflow import FakeMlflow
from flowers import COLUMNS, draw, encode, flower_rows, write_csv
from provenance import lineage
from shapes import validate
from stored import grow, listed


@pytest.fixture(params=["flowers", "pets"])
def kept(request, make_settings, store, serve, tmp_path, monkeypatch):
    """Two versions of a pipeline, the second with more samples."""
    name = request.param
    mlflow = FakeMlflow(tmp_path / "mlflow")
    settings = make_settings(name, MLFLOW_TRACKING_URI=serve(mlflow.app).url)
    for variable, value in settings.environment.items():
        monkeypatch.setenv(variable, value)
    pipeline, dataset = read_pipelines(settings.pipelines)[name], Dataset(store, name)
    snapshots = [grow(dataset, pipeline, step) for step in range(2)]
    for number, snapshot in enumerate(snapshots, start=1):
        decision = ("promoted", "kept")[number - 1]
        mlflow.versions[name, str(number)] = {"sabueso.snapshot": snapshot, "sabueso.decision": decision}
    mlflow.aliases[name, "champion"] = "1"
    return name, dataset, snapshots, mlflow


def ask(capsys, *words, code=0):
    """The JSON answer, checked against its schema; for an exit code other than 0, the text on stderr."""
    assert lineage.main([*words, "--json"]) == code
    out, errors = capsys.readouterr()
    if code:
        return errors
    body = json.loads(out)
    validate(body, "lineage")
    return body


def examples_in(dataset, snapshot):
    """hash -> (part, sample key, row) from the stored snapshot."""
    body = listed(dataset, snapshot)
    parts = ("train", "tune", "holdout")
    return {name: (parts[part], body["samples"][at], row) for name, _, part, at, row in body["examples"]}


def test_a_version_s_samples_and_examples_are_those_of_its_snapshot(kept, capsys):
    name, dataset, snapshots, _ = kept
    for asked, snapshot in (("1", snapshots[0]), ("champion", snapshots[0]), ("2", snapshots[1])):
        found = ask(capsys, name, "--version", asked, "--examples")
        assert found["snapshot"] == snapshot
        known = examples_in(dataset, snapshot)
        assert {one["example"]: (one["part"], one["sample"], one["row"]) for one in found["examples"]} == known
        assert [one["sample"] for one in found["samples"]] == listed(dataset, snapshot)["samples"]
        for part in ("train", "tune", "holdout"):
            assert sum(one[part] for one in found["samples"]) == sum(one == part for one, *_ in known.values())
    assert ask(capsys, name, "--snapshot", snapshots[1][:8])["snapshot"] == snapshots[1]


def test_a_sample_leads_to_the_versions_that_used_its_examples_and_in_which_part(kept, capsys):
    name, dataset, snapshots, _ = kept
    first, last = listed(dataset, snapshots[0])["samples"][0], listed(dataset, snapshots[1])["samples"][-1]
    assert [one["version"] for one in ask(capsys, name, "--sample", first)["versions"]] == ["2", "1"]
    found = ask(capsys, name, "--sample", last.rpartition("/")[2])
    used = {one["version"]: {hit["example"]: hit["part"] for hit in one["examples"]} for one in found["versions"]}
    known = examples_in(dataset, snapshots[1])
    assert used["2"] == {example: known[example][0] for example in found["asked"]}
    if name == "flowers":  # thirty of its rows are also in the sample before, which version 1 used
        assert len(used["1"]) == 30
        assert {hit["sample"] for hit in found["versions"][1]["examples"]} == {first}
    else:
        assert set(used) == {"2"}


def test_an_example_is_found_by_a_prefix_of_its_hash(kept, capsys):
    name, dataset, snapshots, _ = kept
    example, (part, sample, row) = next(iter(examples_in(dataset, snapshots[0]).items()))
    found = ask(capsys, name, "--example", example[:12].upper())
    assert found["asked"] == [example]
    for one in found["versions"]:
        [hit] = one["examples"]
        assert (hit["part"], hit["sample"], hit["row"]) == (part, sample, row)
    assert [one["champion"] for one in found["versions"]] == [False, True]
    assert "too short" in ask(capsys, name, "--example", example[:5], code=1)
    assert "no version used an example 000000" in ask(capsys, name, "--example", "000000", code=1)


def test_a_file_leads_to_the_versions_too(kept, capsys, tmp_path):
    name, *_ = kept
    if name == "pets":
        path = tmp_path / "cat.bmp"
        path.write_bytes(encode(draw("cat", 2), "BMP"))  # another file with the same picture
        count = 1
    else:
        rows = flower_rows(90)[:7]
        columns = [column for column in COLUMNS if column != "species"]
        path = write_csv(tmp_path / "rows.csv", [[row[0], *row[2:]] for row in rows], columns)
        count = 7
    found = ask(capsys, name, "--file", str(path))
    assert [len(one["examples"]) for one in found["versions"]] == [count, count]


def test_an_unused_or_unusable_file_is_reported(kept, capsys, tmp_path):
    name, *_ = kept
    path = tmp_path / "new"
    path.write_bytes(encode(draw("cat", 999)) if name == "pets" else b"petal,turn,colour,place\n1,2,red,sun\n")
    assert lineage.main([name, "--file", str(path)]) == 0
    assert "no version used 1 of 1 examples" in capsys.readouterr().err
    path.write_bytes(b"petal,turn,colour,place\n1000,2,red,sun\n")
    output = ask(capsys, name, "--file", str(path), code=1)
    assert ("row 1: petal: 1000 is outside 0..100" if name == "flowers" else "can't be read as a picture") in output
    assert "No such file" in ask(capsys, name, "--file", str(tmp_path / "none"), code=1)


def test_all_versions_are_listed_newest_first(kept, capsys):
    name, _, snapshots, mlflow = kept
    mlflow.versions[name, "2"]["sabueso.rejected"] = "true"
    mlflow.versions[name, "1"]["sabueso.rejected"] = "false"
    found = ask(capsys, name)["versions"]
    assert [(one["version"], one["champion"], one["decision"], one["rejected"]) for one in found] == [
        ("2", False, "kept", True),
        ("1", True, "promoted", False),
    ]
    assert [one["snapshot"] for one in found] == snapshots[::-1]


def test_the_csv_has_a_line_for_each_example(kept, capsys):
    name, dataset, snapshots, _ = kept
    assert lineage.main([name, "--version", "2", "--examples", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["example"] for row in rows] == [one[0] for one in listed(dataset, snapshots[1])["examples"]]


def test_what_does_not_exist_is_named(kept, capsys, store):
    name, dataset, snapshots, mlflow = kept
    assert "; its versions: 2, 1" in ask(capsys, name, "--version", "9", code=1)
    assert "no alias best of" in ask(capsys, name, "--version", "best", code=1)
    assert "no sample nothing" in ask(capsys, name, "--sample", "nothing", code=1)
    assert "There is no pipeline 'dogs'" in ask(capsys, "dogs", code=1)
    mlflow.versions[name, "3"] = {}
    assert "no tag sabueso.snapshot" in ask(capsys, name, "--version", "3", code=1)
    sample = listed(dataset, snapshots[0])["samples"][0]
    store.delete(f"datasets/{name}/snapshots/{snapshots[1]}.json")
    assert f"no snapshot {snapshots[1]}" in ask(capsys, name, "--version", "2", code=1)
    found = {one["version"]: one["missing"] for one in ask(capsys, name, "--sample", sample)["versions"]}
    assert found["1"] is None
    assert f"no snapshot {snapshots[1]}" in found["2"]
    assert "no tag" in found["3"]


def test_without_mlflow_a_snapshot_can_still_be_read(kept, capsys, monkeypatch):
    name, _, snapshots, _ = kept
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    output = ask(capsys, name, "--version", "1", code=1)
    assert "MLflow at http://127.0.0.1:9 can't be used" in output
    assert "--snapshot" in output
    assert ask(capsys, name, "--snapshot", snapshots[0])["version"] is None
