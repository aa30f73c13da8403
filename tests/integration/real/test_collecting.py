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


def test_a_wrong_key_is_reported_and_a_right_one_works_at_once(deployed: Deployed, source: Source) -> None:
    assert deployed.fetch()["status"] == "collected"
    secret = deployed.secrets / "fetch-batch-s3-secret-key"
    right_key = secret.read_text()
    secret.write_text("a key that was revoked")
    given = len(source.given)
    answer = deployed.post_fetch()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:sabueso:problem:store-unavailable")
    assert "SignatureDoesNotMatch" in answer.json()["detail"]
    assert "Check the secrets" in answer.json()["detail"]
    assert "was revoked" not in answer.text + deployed.functions["fetch-batch"].log.read_text()
    assert len(source.given) == given
    secret.write_text(right_key)
    assert deployed.fetch()["status"] == "collected"


def test_an_answer_waits_until_the_policy_allows_its_write(deployed: Deployed, source: Source) -> None:
    root = StaticProvider(deployed.minio.access_key, deployed.minio.secret_key)
    admin = MinioAdmin(endpoint=deployed.minio.url.removeprefix("http://"), credentials=root, secure=False)
    policy = json.loads(admin.policy_info("fetch-batch"))
    policy = policy.get("Policy", policy)
    no_samples = {"Effect": "Deny", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::sabueso/*/samples/*"]}
    admin.policy_add("fetch-batch", policy={**policy, "Statement": [*policy["Statement"], no_samples]})
    given = len(source.given)
    for _ in range(2):
        answer = deployed.post_fetch()
        assert answer.status_code == 503
        assert "AccessDenied" in answer.json()["detail"]
        assert "the permissions of that key" in answer.json()["detail"]
    assert len(source.given) == given + 1
    status = deployed.get("fetch-batch/covertype")
    assert (status["waiting_answers"], status["lost_answers"]) == (1, 0)
    admin.policy_add("fetch-batch", policy=policy)
    deployed.fetch()
    assert source.given[given] in samples(deployed).values()


def test_minio_stopped_during_a_collection_loses_and_duplicates_nothing(deployed: Deployed, source: Source) -> None:
    source.before_answer = lambda: deployed.minio.stop(signal.SIGKILL)
    answer = deployed.post_fetch()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:sabueso:problem:store-unavailable")
    assert "s3://sabueso" in answer.json()["detail"]
    assert "Start it" in answer.json()["detail"]
    source.before_answer = lambda: None
    given = len(source.given)
    assert deployed.post("fetch-batch/covertype").status_code == 503
    assert requests.get(deployed.url("fetch-batch/covertype"), timeout=60).status_code == 503
    assert len(source.given) == given  # no request to the source while its answer could not be stored
    deployed.minio.start()
    status = deployed.get("fetch-batch/covertype")
    assert (status["waiting_answers"], status["lost_answers"]) == (1, 0)
    status = deployed.collect()
    assert (status["waiting_answers"], status["lost_answers"], status["missing_batches"]) == (0, 0, [])
    stored = samples(deployed)
    assert sorted(stored.values()) == sorted(set(source.given))
    assert all(key.endswith(hashlib.sha256(body).hexdigest()) for key, body in stored.items())
