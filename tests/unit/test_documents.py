"""Stored documents: each is read back as it was written, survives newer fields, and is refused when damaged."""

import json

import pytest

from common.documents import DamagedDocument
from common.storage.dataset import IntentDocument, Rejection, SampleMeta, SampleSource, SourceDocument
from common.storage.leases import LeaseDocument
from common.storage.training_record import TrainingRecord
from contracts import make_contract
from fetch_batch.outbox import Pending
from fetch_batch.record import FetchRecord
from train.fit.checkpoint import FitPlan
from train.gate.champion import new_move
from train.snapshot import SnapshotDocument

TIME = "2026-01-01T00:00:00.000Z"
INTENT = IntentDocument(id="intent-1", time=TIME, lease="nonce", outcome="failed: timeout")
META = SampleMeta(
    batch=3,
    sha256="0" * 64,
    format="json",
    time=TIME,
    source=SampleSource(url="http://host/data", params={"group_number": "1"}),
    intent="intent-1",
    rows=2,
    examples=["ab" * 8],
    rejected_rows=1,
    rejected=[Rejection(row=1, field="petal", detail="must be a number")],
)
SNAPSHOT = SnapshotDocument(
    fingerprint="f" * 64,
    created=TIME,
    split={"salt": "sabueso-1", "fractions": (0.7, 0.1, 0.2)},
    labels=("cat", "dog"),
    samples=["datasets/pets/samples/1/ab"],
    examples=[("ab" * 32, 1, 2, 0, 7)],
)
DOCUMENTS = [
    SourceDocument(type="table", location="rows.csv", params={"group": "1"}, made_up=True, since=TIME),
    INTENT,
    META,
    LeaseDocument(holder="fetch-batch", nonce="nonce", seconds=60, renewals=3, released=True),
    TrainingRecord.new(metrics={"accuracy": 0.9}, sizes={"train": 7}, settings_fingerprint="1" * 64, ancestors=["a"]),
    FetchRecord.new(lease="nonce", status="collected", stored=2, batch=3),
    new_move("2", "1", "better", "gate"),
    SNAPSHOT,
    FitPlan(
        epochs=9, steps=4, size=32, optimizer="adam", learning_rate=0.001, weight_decay=0.0, smoothing=0.1, step_ms=2.5
    ),
    Pending(store="file:///store", intent=INTENT, etag="e", outcome=None, body=b"AAECAw==", received=TIME),
    make_contract(),
]


def name_of(document):
    return type(document).__name__


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_a_document_is_read_back_as_it_was_written(document):
    assert type(document).decode(document.encode(), "a/key") == document


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_a_key_of_a_newer_version_is_ignored(document):
    body = json.dumps({**json.loads(document.encode()), "of_a_newer_version": [1, 2]}).encode()
    assert type(document).decode(body, "a/key") == document


def first_field(document):
    """The stored name of a field that has no default."""
    fields = type(document).model_fields.items()
    return next(field.alias or name for name, field in fields if field.is_required())


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
@pytest.mark.parametrize("damage", ["missing", "another-type"])
def test_a_document_with_a_wrong_field_is_damaged_naming_place_and_field(document, damage):
    field, stored = first_field(document), json.loads(document.encode())
    del stored[field]
    if damage == "another-type":
        stored[field] = {"not": "this"}
    with pytest.raises(DamagedDocument, match=r"datasets/x/key\.json is damaged") as refused:
        type(document).decode(json.dumps(stored).encode(), "datasets/x/key.json")
    assert f"{field}: " in refused.value.detail
    assert field in [error.field for error in refused.value.errors]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
@pytest.mark.parametrize("body", ["cut", "empty", "list", "bytes"])
def test_a_body_that_is_no_json_object_is_damaged_naming_its_place(document, body):
    bodies = {"cut": document.encode()[:-9], "empty": b"", "list": b"[]", "bytes": b"\xff\x00"}
    with pytest.raises(DamagedDocument, match=r"datasets/x/key\.json is damaged"):
        type(document).decode(bodies[body], "datasets/x/key.json")


def test_a_mistake_inside_a_list_has_the_path_of_its_field():
    body = META.encode().replace(b'"row":1', b'"row":"one"')
    with pytest.raises(DamagedDocument, match=r"rejected\[0\]\.row"):
        SampleMeta.decode(body, "a/key")


def test_the_stored_names_of_settings_fingerprints_stay():
    """Early records and contracts have them as `settings`."""
    for document in (TrainingRecord.new(settings_fingerprint="1" * 64), make_contract()):
        assert json.loads(document.encode())["settings"] == "1" * 64
