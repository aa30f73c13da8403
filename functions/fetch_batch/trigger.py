"""Decides when to call train.

Each fetch compares the stored examples with the last training, so no event can be missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import requests

from common.errors import WrongSettings
from common.logging import CALL_ID, log
from common.pipelines import Pipeline
from common.storage.training_record import TrainingRecord
from fetch_batch.settings import FetchSettings

RETRY_FAILED_S = 3600
MIN_EXAMPLES = 20
MAX_INTERRUPTED = 3


def reason_to_train(
    pipeline: Pipeline, examples: int, complete: bool, attempts: Sequence[TrainingRecord], busy: bool, now: datetime
) -> str | None:
    """Why train should be called now, or None. `attempts`: newest first. Pure.

    `examples`: distinct ones of all samples, as counted when they were received.
    """
    if busy or examples < MIN_EXAMPLES:
        return None
    if not attempts:
        enough = complete or examples >= pipeline.trigger.new_examples
        return f"{examples} examples and no version yet" if enough else None
    last = attempts[0]
    if last.state in ("running", "interrupted"):
        ended = [number for number, one in enumerate(attempts) if one.state not in ("running", "interrupted")]
        in_a_row = ended[0] if ended else len(attempts)
        if in_a_row < MAX_INTERRUPTED or _age_s(last, now) > RETRY_FAILED_S:
            return "the last training was interrupted and is resumed"
        return None
    if last.state in ("failed", "out-of-memory"):
        return "the last training failed over an hour ago" if _age_s(last, now) > RETRY_FAILED_S else None
    if last.state == "cancelled" and not last.examples and _age_s(last, now) <= RETRY_FAILED_S:
        return None  # it was cancelled before it had counted its examples
    # `received` is counted like `examples`; train's own count follows today's pipeline file.
    new = examples - (last.received or last.examples)
    if new >= pipeline.trigger.new_examples or (complete and new > 0):
        return f"{new} new examples"
    return None


def _age_s(record: TrainingRecord, now: datetime) -> float:
    return (now - datetime.fromisoformat(record.ended or record.started)).total_seconds()


def call_train(pipeline: str, settings: FetchSettings) -> str:
    """POST train/<pipeline> through the gateway; the outcome in words. The next fetch repeats a failed call."""
    call_id = CALL_ID.get()
    try:
        answer = requests.post(
            f"{settings.gateway}/function/train/{pipeline}",
            headers={
                "Authorization": f"Bearer {settings.secret('train-token')}",
                **({"X-Call-Id": call_id} if call_id else {}),  # so that one id connects both logs
            },
            json={"force": False},
            timeout=10,
        )
        outcome = f"train answered {answer.status_code}"
    except requests.RequestException as error:
        outcome = f"train is not reachable: {type(error).__name__}"
    except WrongSettings as error:  # a missing secret must not cost the other pipelines their data
        missing = "; ".join(f"{one.field}: {one.detail}" for one in error.errors)
        outcome = f"train was not called: {missing}. Create that secret; the next fetch calls again."
    log("called train", pipeline=pipeline, outcome=outcome)
    return outcome


def utc_now() -> datetime:
    return datetime.now(UTC)
