"""Faults of MinIO and its keys while fetch-batch collects."""

from __future__ import annotations

import hashlib
import json
import signal

import pytest
import requests
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from asking import Source, samples
from deployed import Deployed

pytestmark = [pytest.mark.integration, pytest.mark.full]


def test_a_wrong_key_is_told_and_a_right_one_counts_at_once(deployed: Deployed, source: Source) -> None:
    assert deployed.fetch()["status"] == "collected"
    secret = deployed.secrets / "fetch-batch-s3-secret-key"
    right = secret.read_text()
    secret.write_text("a key that was taken back")
    given = len(source.given)
    answer = deployed.ask_fetch()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:sabueso:problem:store-unavailable")
    assert "SignatureDoesNotMatch" in answer.json()["detail"]
    assert "Check the secrets" in answer.json()["detail"]
    assert "taken back" not in answer.text + deployed.functions["fetch-batch"].log.read_text()
    assert len(source.given) == given
    secret.write_text(right)
    assert deployed.fetch()["status"] == "collected"


def test_a_refused_write_keeps_the_answer_until_the_policy_lets_it_pass(deployed: Deployed, source: Source) -> None:
    root = StaticProvider(deployed.minio.access_key, deployed.minio.secret_key)
    admin = MinioAdmin(endpoint=deployed.minio.url.removeprefix("http://"), credentials=root, secure=False)
    may = json.loads(admin.policy_info("fetch-batch"))
    may = may.get("Policy", may)
    samples_alone = {"Effect": "Deny", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::sabueso/*/samples/*"]}
    admin.policy_add("fetch-batch", policy={**may, "Statement": [*may["Statement"], samples_alone]})
    given = len(source.given)
    for _ in range(2):
        answer = deployed.ask_fetch()
        assert answer.status_code == 503
        assert "AccessDenied" in answer.json()["detail"]
        assert "what that key may do" in answer.json()["detail"]
    assert len(source.given) == given + 1
    status = deployed.get("fetch-batch/covertype")
    assert (status["waiting_answers"], status["lost_answers"]) == (1, 0)
    admin.policy_add("fetch-batch", policy=may)
    deployed.fetch()
    assert source.given[given] in samples(deployed).values()


def test_minio_stopped_in_the_middle_of_a_collection_loses_and_doubles_nothing(
    deployed: Deployed, source: Source
) -> None:
    source.before_answer = lambda: deployed.minio.stop(signal.SIGKILL)
    answer = deployed.ask_fetch()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:sabueso:problem:store-unavailable")
    assert "s3://sabueso" in answer.json()["detail"]
    assert "Start it" in answer.json()["detail"]
    source.before_answer = lambda: None
    given = len(source.given)
    assert deployed.post("fetch-batch/covertype").status_code == 503
    assert requests.get(deployed.url("fetch-batch/covertype"), timeout=60).status_code == 503
    assert len(source.given) == given  # the source is not asked while its answer could not be stored
    deployed.minio.start()
    status = deployed.get("fetch-batch/covertype")
    assert (status["waiting_answers"], status["lost_answers"]) == (1, 0)
    status = deployed.collect()
    assert (status["waiting_answers"], status["lost_answers"], status["missing_batches"]) == (0, 0, [])
    stored = samples(deployed)
    assert sorted(stored.values()) == sorted(set(source.given))
    assert all(key.endswith(hashlib.sha256(body).hexdigest()) for key, body in stored.items())
