"""Sends damaged pictures, rows, forms and HTTP to a running classify, and checks every answer.

The same seed makes the same inputs: SABUESO_FUZZ_SEED repeats a run. Pictures are mutated files (mutated_pictures);
everything else comes from hypothesis, which shrinks an input that fails.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jsonschema
from hypothesis import HealthCheck, Phase, given, seed, settings

from common.openapi import schemas
from damaged_calls import Call, calls, largest_calls, picture_call
from limited import Limited
from mutated_pictures import mutated_pictures

# scripts/test --all repeats the fixed seed, so that its result depends on the commit alone; --nightly draws one.
SEED, FIXED_SEED = "SABUESO_FUZZ_SEED", 1
WAIT_S = 120
VALIDATORS = {
    name: jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas()}}
    )
    for name in ("predictions", "problem", "model_card", "classify_index", "health")
}
# Answers of 200 by path; the rest of the paths are names of pipelines.
SCHEMAS = {"/": "classify_index", "/healthz": "health", "/readyz": "health", "/metrics": None, "/openapi.json": None}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes


def send(url: str, call: Call) -> Answer | None:
    """The answer, or None if the connection was closed without one."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with socket.create_connection((host, port), WAIT_S) as connection:
        with contextlib.suppress(OSError):  # the answer may come before the body is read
            connection.sendall(call.text(f"{host}:{port}"))
            if not call.is_http:
                connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection, method=call.method)
        try:
            response.begin()
            return Answer(response.status, response.headers, response.read())
        except (ConnectionError, http.client.BadStatusLine):
            return None
        finally:
            response.close()


def check_answer(call: Call, answer: Answer | None) -> None:
    """200 with the document of its schema, or a problem document with 4xx or 503."""
    if answer is None or (answer.status == 400 and not answer.body):
        assert not call.is_http or call.method == "HEAD", f"no answer: {answer}"
        return
    status, content_type = answer.status, answer.headers.get("Content-Type", "")
    assert status == 200 or 400 <= status < 500 or status == 503, answer
    assert answer.headers["X-Request-Id"], answer
    if call.method == "HEAD" or (status == 200 and call.method == "OPTIONS"):
        assert not answer.body
    elif status != 200:
        assert content_type == "application/problem+json"
        problem = json.loads(answer.body)
        VALIDATORS["problem"].validate(problem)
        assert problem["status"] == status
        assert problem["detail"], problem
        assert "Traceback" not in answer.body.decode()
        assert (status == 503) == ("Retry-After" in answer.headers)
        assert (status == 405) == ("Allow" in answer.headers)
    elif content_type == "application/json":
        document = json.loads(answer.body, parse_constant=_no_constant)
        path = urlsplit(call.target).path
        name = SCHEMAS.get(path, "predictions" if call.method == "POST" else "model_card")
        if name is not None:
            VALIDATORS[name].validate(document)
    elif call.method == "POST":
        assert content_type.startswith("text/csv")
        assert answer.body.startswith(b"label,status,confidence")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def seed_of_run(default: int | None = None) -> int:
    """SABUESO_FUZZ_SEED, else the default, else a random one."""
    given_seed = os.environ.get(SEED)
    if given_seed:
        return int(given_seed)
    return random.SystemRandom().randrange(10**6) if default is None else default


def fuzz(classify: Limited, inputs: int, run_seed: int, after: Callable[[int], None] = lambda _: None) -> Counter[int]:
    """Send that many inputs, mutated pictures and others in turn; how often each status was answered.

    `after` is called after each input with the number of inputs so far. No process may die, and nothing unexpected may
    stand in the log.
    """
    print(f"seed {run_seed}: repeat these inputs with {SEED}={run_seed}")
    statuses: Counter[int] = Counter()
    pids = [process.pid for process in classify.processes()]
    pictures = enumerate(mutated_pictures(run_seed))

    def send_and_check(call: Call) -> None:
        answer = send(classify.function.url, call)
        try:
            check_answer(call, answer)
        except Exception as error:
            error.add_note(f"{SEED}={run_seed}, input {statuses.total()}: {str(call)[:2000]}\n{str(answer)[:2000]}")
            raise
        statuses[answer.status if answer is not None else 0] += 1
        after(statuses.total())

    for call in largest_calls() * 8:  # both workers get each of them
        check_answer(call, send(classify.function.url, call))

    @seed(run_seed)
    @settings(
        max_examples=inputs // 2,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(calls())
    def run(call: Call) -> None:
        send_and_check(call)
        number, (file_format, body) = next(pictures)
        send_and_check(picture_call(number, file_format, body))

    run()
    assert not classify.was_killed(), f"killed for memory at {classify.peak_mb():.0f} MB"
    assert [process.pid for process in classify.processes()] == pids
    log = classify.function.log.read_text()
    for sign in ("unexpected error", "Traceback", "panicked"):
        assert sign not in log, log[max(0, log.index(sign) - 1000) : log.index(sign) + 3000]
    print(f"{statuses.total()} inputs; answers by status: {dict(sorted(statuses.items()))}")
    return statuses
