"""When train is asked: at every tick what is stored is compared with the last attempt, so no event is missed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import requests

from common.errors import WrongSettings
from common.log import CALL_ID, log
from common.pipelines import Pipeline
from common.settings import Settings

RETRY_FAILED_S = 3600
LEAST_EXAMPLES = 20
MAX_INTERRUPTED = 3


def reason_to_train(
    pipeline: Pipeline, examples: int, complete: bool, attempts: list[dict[str, Any]], busy: bool, now: datetime
) -> str | None:
    """Why train should be asked now, or None. `attempts`: records of train, newest first. Pure.

    `examples`: distinct ones of all samples, as counted when they were received.
    """
    if busy or examples < LEAST_EXAMPLES:
        return None
    if not attempts:
        enough = complete or examples >= pipeline.new_examples
        return f"{examples} examples and no version yet" if enough else None
    last = attempts[0]
    if last["state"] in ("running", "interrupted"):
        ended = [number for number, one in enumerate(attempts) if one["state"] not in ("running", "interrupted")]
        in_a_row = ended[0] if ended else len(attempts)
        if in_a_row < MAX_INTERRUPTED or _age_s(last, now) > RETRY_FAILED_S:
            return "the last training was interrupted: take it up again"
        return None
    if last["state"] in ("failed", "out-of-memory"):
        return "the last training failed over an hour ago" if _age_s(last, now) > RETRY_FAILED_S else None
    if last["state"] == "cancelled" and not last["examples"] and _age_s(last, now) <= RETRY_FAILED_S:
        return None  # it was cancelled before it had counted its examples
    # Like with like: train counts by today's pipeline file, which may have left out or let in some since.
    new = examples - (last.get("received") or last["examples"])
    if new >= pipeline.new_examples or (complete and new > 0):
        return f"{new} new examples"
    return None


def _age_s(record: dict[str, Any], now: datetime) -> float:
    return (now - datetime.fromisoformat(record["ended"] or record["started"])).total_seconds()


def ask_train(pipeline: str, settings: Settings) -> str:
    """POST train/<pipeline> through the gateway; what came of it, in words. The next tick makes good a failed one."""
    call_id = CALL_ID.get()
    try:
        answer = requests.post(
            f"{settings.gateway}/function/train/{pipeline}",
            headers={
                "Authorization": f"Bearer {settings.secret('train-token')}",
                **({"X-Call-Id": call_id} if call_id else {}),  # so that one id leads through both logs
            },
            json={"force": False},
            timeout=10,
        )
        outcome = f"train answered {answer.status_code}"
    except requests.RequestException as error:
        outcome = f"train was not reached: {type(error).__name__}"
    except WrongSettings as error:  # a secret is read when it is used, and must not cost the other pipelines their data
        missing = "; ".join(f"{one.field}: {one.detail}" for one in error.errors)
        outcome = f"train was not asked: {missing}. Make that secret; the next tick asks again."
    log("asked train", pipeline=pipeline, outcome=outcome)
    return outcome


def utc_now() -> datetime:
    return datetime.now(UTC)
