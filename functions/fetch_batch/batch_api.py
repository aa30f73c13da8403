"""The source `batch-api`: an intent before each request, so that an answer that gets lost is not lost unreported."""

from __future__ import annotations

import contextlib
import json
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import requests

from common.datasets import Dataset
from common.errors import Conflict, SourceChanged, SourceExhausted, SourceUnavailable, StoreUnavailable
from common.executions import make_id, timestamp
from common.pipelines import Pipeline
from fetch_batch.tally import STOPPED, Tally
from fetch_batch.validate import check_rows
from fetch_batch.waiting import Waiting

MAX_ANSWER = 64_000_000
MAX_FAILURES = 3
MADE_UP = "X-Sabueso-Data"
# A 400 that says so ends the collection; any other (a group that does not exist) does not.
ENDED = "ya se recolecto"


def request_batch(url: str, params: dict[str, str], timeout_s: float) -> tuple[bytes, bool, str | None]:
    """One request: the body as received, whether it calls itself made up, and the words of a source that has ended.

    Raises SourceUnavailable.
    """
    until = time.monotonic() + timeout_s
    try:
        with requests.get(f"{url.rstrip('/')}/data", params=params, timeout=timeout_s, stream=True) as answer:
            parts, size = [], 0
            for part in answer.iter_content(1 << 16):
                parts.append(part)
                size += len(part)
                if time.monotonic() > until:
                    raise SourceUnavailable(f"the answer was not whole after {timeout_s:g} s")
                if size > MAX_ANSWER:
                    raise SourceUnavailable(f"the answer is larger than {MAX_ANSWER} bytes")
            body = b"".join(parts)
    except requests.Timeout:
        raise SourceUnavailable(f"no answer within {timeout_s:g} s") from None
    except requests.exceptions.ChunkedEncodingError:
        raise SourceUnavailable("the answer was cut short") from None
    except requests.ConnectionError as error:
        if "Read timed out" in str(error):  # in the middle of the body requests does not call it a Timeout
            raise SourceUnavailable(f"the answer was not whole after {timeout_s:g} s") from None
        raise SourceUnavailable(f"no connection to {url}") from None
    except requests.RequestException as error:
        raise SourceUnavailable(f"the request failed: {type(error).__name__}") from None
    made_up = answer.headers.get(MADE_UP) == "made-up"
    told = _detail(body) if 400 <= answer.status_code < 500 else ""
    if answer.status_code == 400 and ENDED in _plain(told):
        return body, made_up, told
    if answer.status_code != 200:
        raise SourceUnavailable(f"it answered {answer.status_code}{told and f': {told}'}")
    return body, made_up, None


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])[:200]
    except (ValueError, KeyError, TypeError):
        return ""


def _plain(text: str) -> str:
    """Lower case, without accents."""
    return "".join(one for one in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(one))


def read_batch(body: bytes) -> tuple[int, list[Any]]:
    """Batch number and rows of an answer. Raises SourceUnavailable if it is none."""
    try:
        found = json.loads(body)
        number, rows = found["batch_number"], found["data"]
    except (ValueError, KeyError, TypeError):
        raise SourceUnavailable("the answer is not a batch: no JSON with batch_number and data") from None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1 or not isinstance(rows, list):
        raise SourceUnavailable("the answer is not a batch: batch_number or data is of the wrong type")
    return number, rows


def next_generation(seen: list[tuple[int, int]], number: int) -> int:
    """The generation of a batch, given (generation, batch) of those before: it grows when numbers go back."""
    generation = max((one for one, _ in seen), default=1)
    newest = max((batch for one, batch in seen if one == generation), default=0)
    return generation + 1 if number < newest else generation


class BatchApi:
    """Asks a batch-api for the samples of the window that is open now."""

    def __init__(
        self, pipeline: Pipeline, dataset: Dataset, url: str, params: dict[str, str], waiting: Waiting
    ) -> None:
        self.pipeline, self.dataset, self.url, self.params = pipeline, dataset, url, params
        self.waiting = waiting

    def collect(
        self, tally: Tally, nonce: str, wanted: int, until: float, timeout_s: float, on_source: Callable[[bool], None]
    ) -> None:
        """Ask until the open batch has `wanted` samples, the time is over, or the source fails three times.

        Before that, what the store could not take the last time. Raises StoreUnavailable.
        """
        self._store_waiting(tally, on_source)
        failures = requests_sent = 0
        while requests_sent < 2 * wanted + MAX_FAILURES and failures < MAX_FAILURES:
            left = until - time.monotonic()
            if left < 1:
                tally.stopped, tally.message = True, STOPPED
                return
            requests_sent += 1
            try:
                number = self._ask(tally, nonce, min(timeout_s, left), on_source)
            except SourceExhausted as error:
                tally.exhausted, tally.message = True, error.detail
                return
            except SourceUnavailable as error:
                failures += 1
                tally.failed, tally.message = tally.failed + 1, error.detail
                continue
            have = sum(1 for sample in self.dataset.samples() if sample.batch == number)
            if have + tally.duplicate >= wanted:
                return

    def _ask(self, tally: Tally, nonce: str, timeout_s: float, on_source: Callable[[bool], None]) -> int:
        intent: dict[str, Any] = {"id": make_id("intent"), "time": timestamp(), "lease": nonce, "outcome": None}
        etag = self.dataset.write_intent(intent)
        outcome: str | None = None
        kept: dict[str, Any] = {}
        try:
            try:
                body, made_up, ended = request_batch(self.url, self.params, timeout_s)
                kept = {"body": None if ended else body, "made_up": made_up, "received": timestamp()}
                if ended is not None:
                    outcome = "exhausted"
                    on_source(made_up)
                    raise SourceExhausted(f"the source says: {ended}")
                number, stored = self._store(tally, intent, on_source, **kept)
                outcome = "stored" if stored else "duplicate"
                return number
            except (SourceUnavailable, SourceChanged) as error:
                outcome = f"failed: {error.detail}"
                raise
            finally:
                # A process that is killed here leaves the intent open: then it counts as a lost answer, as it should.
                if outcome is not None:
                    self.dataset.write_intent({**intent, "outcome": outcome}, etag)
        except StoreUnavailable:
            # The source does not give this answer again.
            self.waiting.keep(intent, etag, outcome, **kept)
            raise

    def _store_waiting(self, tally: Tally, on_source: Callable[[bool], None]) -> None:
        for path, one in self.waiting.all():
            intent, outcome, etag = one["intent"], one["outcome"], one["etag"]
            if outcome is None:
                try:
                    stored = self._store(tally, intent, on_source, one["body"], one["made_up"], one["received"])[1]
                    outcome = "stored" if stored else "duplicate"
                except (SourceUnavailable, SourceChanged) as error:
                    outcome = f"failed: {error.detail}"
            with contextlib.suppress(Conflict):  # the outcome was written although its answer was lost
                self.dataset.write_intent({**intent, "outcome": outcome}, etag)
            path.unlink()

    def _store(
        self,
        tally: Tally,
        intent: dict[str, Any],
        on_source: Callable[[bool], None],
        body: bytes,
        made_up: bool,
        received: str,
    ) -> tuple[int, bool]:
        """The answer's batch number, and whether it is new. Raises SourceUnavailable if it is no batch."""
        number, rows = read_batch(body)
        on_source(made_up)
        report = check_rows(rows, self.pipeline)
        seen = [(int(sample.meta["generation"]), sample.batch) for sample in self.dataset.samples()]
        stored = self.dataset.add_sample(
            number,
            body,
            {
                "format": "json",
                "time": received,
                "intent": intent["id"],
                "source": {"url": self.url, "params": self.params},
                "made_up": made_up,
                "generation": next_generation(seen, number),
                **report.as_dict(),
            },
        )
        tally.add(number, stored, report)
        return number, stored
