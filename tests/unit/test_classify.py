"""classify answers rows and pictures in every accepted form."""

import csv
import io
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from PIL import Image

from common.inference.network import Network
from conftest import together
from flowers import as_record, draw, encode, flower_rows
from serving import ROW, validate_problem

ROWS = flower_rows(30, seed=9)
FUNCTIONS = Path(__file__).parents[2] / "functions"


def labels(answer):
    assert answer.status_code == 200, answer.text
    return [one["label"] for one in answer.json["predictions"]]


def csv_of(rows, columns=("petal", "turn", "colour", "place")):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def test_a_row_gets_one_prediction_with_everything_that_the_page_shows(serving):
    answer = serving.client.post("/flowers", json=ROW)
    [prediction] = answer.json["predictions"]
    assert answer.json["model"] == {"name": "flowers", "version": "1"}
    assert (prediction["label"], prediction["status"]) == ("small", "sure")
    assert prediction["title"] == {"en": "Small one", "es": "Pequeña"}
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


def test_a_list_of_rows_gets_its_predictions_in_order(serving):
    assert labels(serving.client.post("/flowers", json=[as_record(row) for row in ROWS])) == [row[1] for row in ROWS]


def test_more_rows_than_one_batch_of_the_network_are_all_answered(serving):
    many = [as_record(row) for row in flower_rows(600, seed=3)]
    one_by_one = [labels(serving.client.post("/flowers", json=row))[0] for row in many[250:260]]
    assert labels(serving.client.post("/flowers", json=many))[250:260] == one_by_one


def test_a_csv_is_answered_as_json_or_on_request_as_csv(serving):
    body = "\ufeff" + csv_of([as_record(row) for row in ROWS])
    headers = {"Content-Type": "text/csv; charset=utf-8"}
    assert labels(serving.client.post("/flowers", data=body.encode(), headers=headers)) == [row[1] for row in ROWS]
    answer = serving.client.post("/flowers", data=body.encode(), headers={**headers, "Accept": "text/csv"})
    predictions = list(csv.DictReader(io.StringIO(answer.text)))
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert [row["label"] for row in predictions] == [row[1] for row in ROWS]
    assert list(predictions[0])[:3] == ["label", "status", "confidence"]
    assert float(predictions[0]["probability_small"]) == pytest.approx(float(predictions[0]["confidence"]))
    assert {row["version"] for row in predictions} == {"1"}


def test_a_csv_may_have_any_column_order_and_contain_the_target(serving):
    rows = [{**as_record(row), "species": row[1]} for row in ROWS]
    body = csv_of(rows, ("species", "place", "colour", "turn", "petal"))
    assert labels(serving.client.post("/flowers", data=body, content_type="text/csv")) == [row[1] for row in ROWS]


def test_json_rows_are_answered_as_csv_on_request(serving):
    answer = serving.client.post("/flowers", json=ROW, headers={"Accept": "text/csv"})
    assert (answer.mimetype, len(answer.text.splitlines())) == ("text/csv", 2)


def test_a_browser_s_accept_header_gets_json(serving):
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    assert serving.client.post("/flowers", json=ROW, headers={"Accept": accept}).mimetype == "application/json"


def test_numbers_as_text_and_unseen_categories_are_accepted(serving):
    assert serving.predict({**ROW, "petal": "11.5"}) == ("small", "1")
    assert serving.predict({**ROW, "colour": "never seen"})[0] == "small"


def test_a_row_unlike_the_training_data_is_unknown(serving):
    answer = serving.client.post("/flowers", json={**ROW, "petal": 100, "colour": "never seen", "turn": 1e15})
    assert answer.json["predictions"][0]["status"] == "unknown"


@pytest.mark.parametrize("label", ["cat", "dog"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_every_picture_format_is_classified(serving, label, kind):
    picture = draw(label, 99, (300, 200))
    answer = serving.client.post("/pets", data=encode(picture, kind), content_type=f"image/{kind.lower()}")
    assert labels(answer) == [label]
    assert answer.json["predictions"][0]["status"] in ("sure", "unknown")


def test_several_pictures_in_a_form_get_their_predictions_in_order(serving):
    expected = ["dog", "cat", "cat", "dog"]
    files = [(io.BytesIO(encode(draw(label, number))), f"{number}.png") for number, label in enumerate(expected)]
    answer = serving.client.post("/pets", data={"image": files}, content_type="multipart/form-data")
    assert labels(answer) == expected


def test_a_form_with_too_many_fields_is_too_large(serving):
    fields = {f"field{number}": "x" for number in range(1001)}
    answer = serving.client.post("/pets", data=fields, content_type="multipart/form-data")
    validate_problem(answer, 413, "too-large")


def test_a_picture_in_a_form_is_answered_like_a_raw_body(serving):
    body = encode(draw("cat", 3))
    raw = serving.client.post("/pets", data=body, content_type="image/png")
    form = serving.client.post("/pets", data={"image": (io.BytesIO(body), "x.png")}, content_type="multipart/form-data")
    assert raw.json["predictions"] == form.json["predictions"]


def test_a_picture_unlike_the_training_data_is_unknown(serving):
    body = encode(Image.new("RGB", (40, 40), (0, 255, 0)))
    answer = serving.client.post("/pets", data=body, content_type="image/png")
    assert answer.json["predictions"][0]["status"] == "unknown"


def test_concurrent_requests_get_their_own_answers(serving):
    rows = [as_record(row) for row in ROWS[:12]]
    answers = together(*[lambda row=row: serving.client.post("/flowers", json=row) for row in rows])
    assert [labels(answer)[0] for answer in answers] == [row[1] for row in ROWS[:12]]


def test_concurrent_pictures_are_computed_one_by_one(serving, monkeypatch):
    run, running, counts = Network.run, [], []

    def counting(network, inputs):
        running.append(network)
        counts.append(len(running))
        time.sleep(0.05)
        running.pop()
        return run(network, inputs)

    monkeypatch.setattr(Network, "run", counting)
    body = encode(draw("cat", 1))
    answers = together(*4 * [lambda: serving.client.post("/pets", data=body, content_type="image/png")])
    assert [labels(answer) for answer in answers] == 4 * [["cat"]]
    assert counts == [1, 1, 1, 1]


def test_a_request_leaves_nothing_in_the_scratch_folder(serving, serve):
    serving.predict()
    url = f"{serve(serving.app).url}/pets"
    large = encode(draw("cat", 1, (900, 700)), "BMP")
    assert requests.post(url, files={"image": ("large.bmp", large)}, timeout=10).status_code == 200
    serving.client.post("/pets", data=b"not a picture", content_type="image/png")
    names = ("contract.json", "golden.npz", "network.tflite")
    bundles = [f"bundles/{name}/1/{file}" for name in ("flowers", "pets") for file in names]
    assert serving.scratch_files() == sorted([*bundles, "bundles/flowers/kept-version", "bundles/pets/kept-version"])


def test_the_model_card_has_what_a_form_needs(serving):
    card = serving.client.get("/flowers").json
    fields = card["input"]["schema"]["properties"]
    assert list(fields) == ["petal", "turn", "colour", "place"]
    assert (fields["petal"]["minimum"], fields["petal"]["maximum"], fields["petal"]["unit"]) == (0, 100, "cm")
    assert (fields["turn"]["x-cyclic"], fields["place"]["enum"]) == (360, ["sun", "shade"])
    assert fields["colour"]["x-known"] == ["blue", "red", "white"]
    assert (card["examples"], card["made_up"], card["stale_since"]) == (90, True, None)
    assert serving.client.get("/pets").json["input"]["max_bytes"] == 20_000_000


def test_answering_imports_no_heavy_library(serving, tmp_path):
    serving.served.stop()
    body = tmp_path / "cat.png"
    body.write_bytes(encode(draw("cat", 1)))
    script = f"""
import sys
from classify.settings import read_settings
from classify.app import create_app
client = create_app(read_settings({dict(serving.settings.environment)!r})).test_client()
assert client.post("/flowers", json={ROW!r}).status_code == 200
assert client.post("/pets", data=open({str(body)!r}, "rb").read(), content_type="image/png").status_code == 200
for path in ("/", "/flowers", "/openapi.json", "/metrics", "/healthz"):
    assert client.get(path).status_code == 200, path
heavy = ("tensorflow", "mlflow", "pandas", "boto3", "scipy", "keras", "matplotlib", "psutil", "train", "fetch_batch")
print(sorted(name for name in heavy if name in sys.modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(FUNCTIONS)}, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "[]\n"), result.stderr
