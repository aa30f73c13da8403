"""The source `images`: class-named folders in any place; each picture is stored once."""

import io
import shutil
import tarfile
import zipfile

import pytest
from flask import Flask, send_file

from common.inference.pictures import canonical_picture
from common.storage.dataset import Dataset
from fetch_batch.app import create_app
from flowers import draw, draw_folders, encode


@pytest.fixture
def pictures(tmp_path):
    return draw_folders(tmp_path / "pictures", 6)


@pytest.fixture
def make_client(make_settings, store):
    """A client of fetch-batch that collects pets from a source."""

    def make(source, **environment):
        settings = make_settings("pets", PETS_SOURCE=source, SABUESO_MIN_INTERVAL_S="0.000001", **environment)
        return create_app(settings, store).test_client()

    return make


def fetch(client):
    answer = client.post("/pets")
    assert answer.status_code == 200, answer.text
    return answer.json["results"][0]


def statuses(client, count):
    return [fetch(client)["status"] for _ in range(count)]


def archive(folder, kind, root=""):
    target = folder.with_suffix(f".{kind}")
    files = [path for path in folder.rglob("*") if path.is_file()]
    if kind == "zip":
        with zipfile.ZipFile(target, "w") as pack:
            for path in files:
                pack.write(path, f"{root}{path.relative_to(folder)}")
    else:
        with tarfile.open(target, "w:gz" if kind in ("tar.gz", "tgz") else "w") as pack:
            for path in files:
                pack.add(path, f"{root}{path.relative_to(folder)}")
    return target


@pytest.mark.parametrize("where", ["folder", "zip", "tar", "tar.gz", "tgz", "url"])
def test_pictures_are_collected_from(make_client, pictures, store, serve, where):
    source = pictures
    if where != "folder":
        source = archive(pictures, "zip" if where == "url" else where, root="some/top/")
    if where == "url":
        site = Flask(__name__)
        site.add_url_rule("/pictures.zip", view_func=lambda path=source: send_file(path))
        source = f"{serve(site).url}/pictures.zip"
    client = make_client(source)
    result = fetch(client)
    assert (result["status"], result["stored"], result["quarantined"]) == ("collected", 12, 0)
    dataset = Dataset(store, "pets")
    stored = {(sample.meta.label, canonical_picture(body)) for sample, body in dataset.bodies(dataset.samples())}
    expected = {
        (label, canonical_picture(encode(draw(label, number)))) for label in ("cat", "dog") for number in range(6)
    }
    assert stored == expected
    assert statuses(client, 2) == ["complete", "complete"]
    status = client.get("/pets").json
    assert (status["samples"], status["examples"], status["complete"]) == (12, 12, True)
    assert status["source"]["location"] == str(source)


def test_the_public_archive_with_train_and_validation_folders_is_collected_whole(make_client, tmp_path, store, serve):
    root, number = tmp_path / "cats_and_dogs_filtered", 0
    for folder, label in (
        ("train/cats", "cat"),
        ("train/dogs", "dog"),
        ("validation/cats", "cat"),
        ("validation/dogs", "dog"),
    ):
        (root / folder).mkdir(parents=True)
        for place in range(3):
            (root / folder / f"{label}.{place}.png").write_bytes(encode(draw(label, number)))
            number += 1
    (root / "vectorize.py").write_text("no picture")
    site, packed = Flask(__name__), archive(root, "zip", root="cats_and_dogs_filtered/")
    site.add_url_rule("/cats_and_dogs_filtered.zip", view_func=lambda: send_file(packed))
    result = fetch(make_client(f"{serve(site).url}/cats_and_dogs_filtered.zip"))
    assert (result["status"], result["stored"], result["quarantined"]) == ("collected", 12, 0)
    labels = [sample.meta.label for sample in Dataset(store, "pets").samples()]
    assert (labels.count("cat"), labels.count("dog")) == (6, 6)


@pytest.mark.parametrize(
    ("folder", "label"), [("Cat", "cat"), ("DOGS/from a phone/2024", "dog"), ("dog/cat", "cat"), ("dogma", None)]
)
def test_the_nearest_folder_of_a_label_counts_in_any_case(make_client, pictures, store, folder, label):
    file = pictures / folder / "one.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encode(draw("cat", 99)))
    assert fetch(make_client(pictures))["status"] == "collected"
    labels = {sample.meta.name: sample.meta.label for sample in Dataset(store, "pets").samples()}
    assert labels.get(f"{folder}/one.png") == label


def test_labels_that_differ_only_in_case_keep_their_pictures_apart(make_settings, store, pictures):
    settings = make_settings("pets", PETS_SOURCE=pictures, SABUESO_MIN_INTERVAL_S="0.000001")
    (pictures / "cat").rename(pictures / "DOG")
    file = settings.pipelines / "pets.toml"
    file.write_text(file.read_text().replace('value = "cat"', 'value = "DOG"'))
    assert fetch(create_app(settings, store).test_client())["stored"] == 12
    labels = [sample.meta.label for sample in Dataset(store, "pets").samples()]
    assert (labels.count("DOG"), labels.count("dog")) == (6, 6)


def test_fetches_without_new_pictures_leave_one_record(make_client, pictures):
    client = make_client(pictures)
    statuses(client, 5)
    assert [one["status"] for one in client.get("/pets").json["executions"]] == ["complete", "collected"]


def test_each_fetch_takes_examples_per_fetch_of_both_labels(make_settings, store, pictures):
    settings = make_settings("pets", PETS_SOURCE=pictures, SABUESO_MIN_INTERVAL_S="0.000001")
    file = settings.pipelines / "pets.toml"
    file.write_text(file.read_text().replace("examples_per_fetch = 500", "examples_per_fetch = 5"))
    client = create_app(settings, store).test_client()
    assert [fetch(client)["stored"] for _ in range(4)] == [5, 5, 2, 0]
    first = [sample for sample in Dataset(store, "pets").samples() if sample.batch == 1]
    assert {sample.meta.label for sample in first} == {"cat", "dog"}
    assert [batch["samples"] for batch in client.get("/pets").json["batches"]] == [5, 5, 2]


def test_new_pictures_are_collected_after_completion(make_client, pictures):
    client = make_client(pictures)
    assert statuses(client, 2) == ["collected", "complete"]
    draw_folders(pictures, 2, first=6)
    assert fetch(client)["stored"] == 4
    assert client.get("/pets").json["complete"] is False
    assert fetch(client)["status"] == "complete"
    assert client.get("/pets").json["examples"] == 16


def test_a_changed_archive_is_downloaded_again(make_client, pictures, serve):
    site, answers = Flask(__name__), []

    @site.get("/pets.zip")
    def give():
        answer = send_file(archive(pictures, "zip"), etag=f"v{len(list(pictures.rglob('*.png')))}", conditional=True)
        answers.append(answer.status_code)
        return answer

    client = make_client(f"{serve(site).url}/pets.zip")
    assert statuses(client, 2) == ["collected", "complete"]
    draw_folders(pictures, 1, first=6)
    assert fetch(client)["stored"] == 2
    assert answers == [200, 304, 200]


@pytest.mark.parametrize("kind", ["text", "cut"])
def test_an_unreadable_picture_is_quarantined_with_its_reason(make_client, pictures, store, kind):
    body = b"not a picture at all" if kind == "text" else encode(draw("cat", 1))[:-60]
    (pictures / "cat" / "unreadable.jpg").write_bytes(body)
    client = make_client(pictures)
    result = fetch(client)
    assert (result["stored"], result["quarantined"]) == (13, 1)
    status = client.get("/pets").json
    assert (status["samples"], status["examples"], status["quarantine"]["rows"]) == (13, 12, 1)
    [reason] = status["quarantine"]["reasons"]
    assert reason["field"] == "picture"
    assert "picture of type JPEG" in reason["detail"]
    assert statuses(client, 2) == ["complete", "complete"]


def test_a_file_under_two_labels_is_stored_under_both(make_client, pictures, store):
    shutil.copy(pictures / "cat" / "0.png", pictures / "dog" / "a-cat.png")
    client = make_client(pictures)
    assert [fetch(client)["stored"] for _ in range(3)] == [12, 1, 0]
    status = client.get("/pets").json
    assert (status["samples"], status["examples"]) == (13, 12)
    labels = [
        sample.meta.label for sample in Dataset(store, "pets").samples() if sample.meta.name.endswith("a-cat.png")
    ] + [sample.meta.label for sample in Dataset(store, "pets").samples() if sample.meta.name == "cat/0.png"]
    assert sorted(labels) == ["cat", "dog"]


def test_a_copy_of_a_picture_is_not_stored(make_client, pictures):
    shutil.copy(pictures / "cat" / "0.png", pictures / "cat" / "copy.png")
    client = make_client(pictures)
    result = fetch(client)
    assert (result["stored"], result["duplicate"]) == (12, 1)
    assert statuses(client, 2) == ["complete", "complete"]


def test_only_pictures_in_folders_of_a_label_are_collected(make_client, pictures):
    (pictures / "bird").mkdir()
    shutil.copy(pictures / "cat" / "0.png", pictures / "bird" / "0.png")
    shutil.copy(pictures / "cat" / "1.png", pictures / "loose.png")
    (pictures / "cat" / "notes.txt").write_text("a text")
    (pictures / "cat" / ".hidden.png").write_bytes(b"x")
    (pictures / "__MACOSX" / "cat").mkdir(parents=True)
    shutil.copy(pictures / "cat" / "2.png", pictures / "__MACOSX" / "cat" / "2.png")
    assert fetch(make_client(pictures))["stored"] == 12


def test_drawn_pictures_are_marked_as_made_up(make_client, pictures):
    (pictures / "MADE-UP.txt").write_text("drawn by a program")
    client = make_client(pictures)
    fetch(client)
    assert client.get("/pets").json["source"]["made_up"] is True


@pytest.mark.parametrize("what", ["nothing", "empty", "other-labels", "broken-zip", "missing-url", "no-server"])
def test_a_source_without_pictures_is_reported_and_not_complete(make_client, tmp_path, serve, what):
    place = tmp_path / "place"
    source = place
    if what == "empty":
        place.mkdir()
    elif what == "other-labels":
        (place / "bird").mkdir(parents=True)
        (place / "bird" / "1.png").write_bytes(encode(draw("cat", 1)))
    elif what == "broken-zip":
        source = tmp_path / "place.zip"
        source.write_bytes(b"not an archive")
    elif what == "missing-url":
        source = f"{serve(Flask(__name__)).url}/pets.zip"
    elif what == "no-server":
        source = "http://127.0.0.1:9/pets.zip"
    client = make_client(source)
    result = fetch(client)
    assert (result["status"], result["stored"]) == ("source-unavailable", 0)
    assert str(source).rstrip("/") in result["message"]
    assert client.get("/pets").json["complete"] is False


def test_an_archive_can_not_write_outside_its_folder(make_client, tmp_path):
    body = encode(draw("cat", 1))
    source = tmp_path / "pets.tar"
    with tarfile.open(source, "w") as pack:
        for name in ("../../../cat/outside.png", f"{tmp_path}/cat/absolute.png"):
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            pack.addfile(entry, io.BytesIO(body))
    result = fetch(make_client(source))
    assert result["status"] == "source-unavailable"
    assert not list(tmp_path.rglob("outside.png"))
    assert not (tmp_path / "cat").exists()


def test_a_fetch_that_runs_out_of_time_leaves_the_collection_incomplete(make_client, pictures):
    client = make_client(pictures, SABUESO_FETCH_S="0.000001")
    result = fetch(client)
    assert (result["status"], result["stored"]) == ("collected", 0)
    assert client.get("/pets").json["complete"] is False


def test_unpacked_files_stay_in_the_scratch_folder(make_client, pictures, tmp_path):
    fetch(make_client(archive(pictures, "zip")))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"pictures", "pictures.zip", "pipelines", "scratch", "secrets", "store"}
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["unpacked"]


def test_a_url_may_have_a_query(make_client, serve, pictures):
    site = Flask(__name__)
    site.add_url_rule("/data/pets.zip", view_func=lambda: send_file(archive(pictures, "zip")))
    url = serve(site).url
    assert fetch(make_client(f"{url}/data/pets.zip?x=1"))["stored"] == 12


@pytest.mark.parametrize(
    ("folders", "contents"),
    [
        ({"Katzen": 3, "Hunde": 2}, "there are 5 pictures: 3 in Katzen, 2 in Hunde"),
        ({f"breed-{number}": 1 for number in range(10)}, "and more in 2 other folders"),
        ({"": 2}, "there are 2 pictures: 2 in no folder"),
        ({}, "there are 1 files and none is a picture (.jpg, "),
    ],
)
def test_a_source_without_label_folders_is_reported_with_its_contents(make_client, tmp_path, folders, contents):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    for folder, count in folders.items():
        for number in range(count):
            file = tmp_path / "photos" / folder / f"{number}.png"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(encode(draw("cat", number)))
    result = fetch(make_client(tmp_path / "photos"))
    assert result["status"] == "source-unavailable"
    assert "holds no pictures in folders named cat, cats, dog, dogs; " in result["message"]
    assert contents in result["message"]


def test_the_limits_of_pictures_are_settings(make_client, pictures):
    assert fetch(make_client(pictures, SABUESO_MAX_MEGAPIXELS="0.000001"))["quarantined"] == 12
