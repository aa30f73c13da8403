"""Documents are typed: each kind is read and written in one place, and no key of the store is spelled twice."""

from __future__ import annotations

import re
from pathlib import Path

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
# Where a document of others is read: MLflow's answers, the body of a request, WSGI's environ.
FOREIGN = {"common/registry.py", "train/registry.py", "common/web.py", "train/app.py", "common/admission.py"}
DOCUMENTS = {
    "Contract": "common/inference/contract.py",
    "ExecutionRecord": "common/storage/executions.py",
    "FetchResult": "fetch_batch/result.py",
    "FitPlan": "train/fit/checkpoint.py",
    "IntentDocument": "common/storage/dataset.py",
    "LeaseDocument": "common/storage/leases.py",
    "Pending": "fetch_batch/outbox.py",
    "SampleMeta": "common/storage/dataset.py",
    "SnapshotDocument": "train/snapshot.py",
    "SourceDocument": "common/storage/dataset.py",
    "StoredRecord": "common/storage/executions.py",
    "TrainingRecord": "common/storage/training_record.py",
    "Verdict": "train/verdict.py",
}


def sources() -> dict[str, str]:
    files = FUNCTIONS.rglob("*.py")
    return {file.relative_to(FUNCTIONS).as_posix(): file.read_text(encoding="utf-8") for file in files}


def test_only_documents_of_others_are_untyped() -> None:
    untyped = {name for name, text in sources().items() if re.search(r"dict\[str, Any\]", text)}
    assert untyped <= FOREIGN


def test_each_document_is_parsed_in_the_file_that_defines_it_or_by_its_store() -> None:
    """`json.loads` of a stored document elsewhere would be a second reader."""
    readers = {name for name, text in sources().items() if "json.loads" in text}
    others = {
        *("common/openapi.py", "common/json_reading.py"),  # JSON Schemas, the body of a request
        *("common/inference/bundle.py",),  # the contract as it was signed, golden rows
        *("common/storage/dataset.py",),  # a source's own answers
        *("train/version_tags.py", "train/supervisor.py", "train/fit/training_loop.py"),  # tags, log lines, curves
    }
    assert readers <= others


def test_each_kind_of_document_is_defined_once() -> None:
    for kind, file in DOCUMENTS.items():
        assert [name for name, text in sources().items() if re.search(rf"^class {kind}\b", text, re.M)] == [file]


def test_keys_of_the_store_are_spelled_in_one_file() -> None:
    spelled = {name for name, text in sources().items() if re.search(r"""f?["'](datasets|jobs)/""", text)}
    assert spelled == {"common/storage/keys.py"}
