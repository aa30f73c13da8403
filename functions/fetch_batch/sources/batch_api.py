"""The source `batch-api`. An intent is written before each request, so that a lost answer is reported."""

from __future__ import annotations

import contextlib
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import requests

from common.errors import Conflict, Malformed, StoreUnavailable
from common.json_reading import read_json
from common.pipelines import Pipeline
from common.storage.dataset import Dataset, IntentDocument, SampleMeta, SampleSource, sample_digest
from common.storage.executions import new_id
from common.timestamps import timestamp
from fetch_batch.errors import SourceChanged, SourceExhausted, SourceUnavailable
from fetch_batch.fetch_stats import STOPPED, FetchStats
from fetch_batch.outbox import Answer, Outbox
from fetch_batch.sources.variables import ConfiguredSource
from fetch_batch.validation import check_rows

MAX_ANSWER = 64_000_000
MAX_FAILURES = 3
MADE_UP = "X-Sabueso-Data"
# A 400 whose detail contains this ends the collection; any other 400 (an unknown group) does not.
ENDED = "ya se recolecto"


def request_batch(source: ConfiguredSource, timeout_s: float) -> tuple[bytes, bool, str | None]:
    """One request: the body, whether the API marks the data as made up, and the message of an exhausted source.

    Raises SourceUnavailable.
    """
    until, url = time.monotonic() + timeout_s, f"{source.location.rstrip('/')}/data"
    try:
        with requests.get(url, params=source.params, timeout=timeout_s, stream=True) as answer:
            chunks, size = [], 0
            for chunk in answer.iter_content(1 << 16):
                chunks.append(chunk)
                size += len(chunk)
                if time.monotonic() > until:
                    raise SourceUnavailable(f"the answer was incomplete after {timeout_s:g} s")
                if size > MAX_ANSWER:
                    raise SourceUnavailable(f"the answer is larger than {MAX_ANSWER} bytes")
            body = b"".join(chunks)
    except requests.Timeout:
        raise SourceUnavailable(f"no answer within {timeout_s:g} s") from None
    except requests.exceptions.ChunkedEncodingError:
        raise SourceUnavailable("the answer was cut short") from None
    except requests.ConnectionError as error:
        if "Read timed out" in str(error):  # requests does not call it a Timeout in the middle of a body
            raise SourceUnavailable(f"the answer was incomplete after {timeout_s:g} s") from None
        raise SourceUnavailable(f"no connection to {source.document.location}") from None
    except (requests.RequestException, ValueError) as error:  # ValueError: a URL that can't be one
        raise SourceUnavailable(f"the request failed: {type(error).__name__}") from None
    made_up = answer.headers.get(MADE_UP) == "made-up"
    detail = source.hide_secrets(_detail(body))[:200] if 400 <= answer.status_code < 500 else ""
    if answer.status_code == 400 and ENDED in _without_accents(detail):
        return body, made_up, detail
    if answer.status_code != 200:
        raise SourceUnavailable(f"it answered {answer.status_code}{detail and f': {detail}'}")
    return body, made_up, None


def _detail(body: bytes) -> str:
    try:
        return str(read_json(body)["detail"])
    except (Malformed, KeyError, TypeError):
        return ""


def _without_accents(text: str) -> str:
    """In lower case."""
    return "".join(one for one in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(one))


def read_batch(body: bytes) -> tuple[int, list[Any]]:
    """Batch number and rows of an answer. Raises SourceUnavailable if it is not a batch."""
    try:
        batch = read_json(body, constant=float)  # a row with NaN is quarantined, the others are stored
        number, rows = batch["batch_number"], batch["data"]
    except (Malformed, KeyError, TypeError) as error:
        why = f"; {error.detail}" if isinstance(error, Malformed) else ""
        raise SourceUnavailable(
            f"the answer is not a batch: expected JSON with `batch_number` and `data`{why}"
        ) from None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1 or not isinstance(rows, list):
        raise SourceUnavailable("the answer is not a batch: batch_number or data is of the wrong type")
    return number, rows


def next_generation(seen: list[tuple[int, int]], number: int) -> int:
    """The generation of a batch, given (generation, batch) of earlier ones: it grows when batch numbers go back."""
    generation = max((one for one, _ in seen), default=1)
    newest = max((batch for one, batch in seen if one == generation), default=0)
    return generation + 1 if number < newest else generation


class BatchApi:
    """Asks a batch-api for samples of the window that is open now.

    `check_source` is called with whether the data are made up, and raises SourceChanged if they do not fit the store.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        dataset: Dataset,
        source: ConfiguredSource,
        outbox: Outbox,
        check_source: Callable[[bool], None],
    ) -> None:
        self.pipeline, self.dataset, self.source = pipeline, dataset, source
        self.outbox, self.check_source = outbox, check_source

    def collect(self, stats: FetchStats, nonce: str, wanted: int, until: float, timeout_s: float) -> None:
        """Ask until the open batch has `wanted` samples, the time is over, or the source fails three times.

        First store what the outbox holds. Raises StoreUnavailable.
        """
        self._store_pending(stats)
        failures = requests_sent = 0
        while requests_sent < 2 * wanted + MAX_FAILURES and failures < MAX_FAILURES:
            left = until - time.monotonic()
            if left < 1:
                stats.stopped, stats.message = True, STOPPED
                return
            requests_sent += 1
            try:
                number = self._ask(stats, nonce, min(timeout_s, left))
            except SourceExhausted as error:
                stats.exhausted, stats.message = True, error.detail
                return
            except SourceUnavailable as error:
                failures += 1
                stats.failed, stats.message = stats.failed + 1, error.detail
                continue
            have = sum(1 for sample in self.dataset.samples() if sample.batch == number)
            if have + stats.duplicate >= wanted:
                return

    def _ask(self, stats: FetchStats, nonce: str, timeout_s: float) -> int:
        intent = IntentDocument(id=new_id("intent"), time=timestamp(), lease=nonce)
        etag = self.dataset.write_intent(intent)
        handled = intent  # with its outcome, once there is one
        answer: Answer | None = None
        try:
            try:
                body, made_up, ended = request_batch(self.source, timeout_s)
                if ended is not None:
                    handled = intent.exhausted()
                    self.check_source(made_up)
                    raise SourceExhausted(f"the source says: {ended}")
                answer = Answer(body, made_up, timestamp())
                number, is_new = self._store(stats, intent, answer)
                handled = intent.stored(is_new)
                return number
            except (SourceUnavailable, SourceChanged) as error:
                handled = intent.failed(error.detail)
                raise
            finally:
                # A process that is killed here leaves the intent open, so it counts as a lost answer, as it should.
                if handled.outcome is not None:
                    self.dataset.write_intent(handled, etag)
        except StoreUnavailable:
            # The source does not give this answer again.
            self.outbox.keep(intent, etag, handled.outcome, answer)
            raise

    def _store_pending(self, stats: FetchStats) -> None:
        for path, pending in self.outbox.all():
            intent = pending.intent.with_outcome(pending.outcome)
            if intent.outcome is None and pending.answer is not None:
                try:
                    intent = intent.stored(self._store(stats, intent, pending.answer)[1])
                except (SourceUnavailable, SourceChanged) as error:
                    intent = intent.failed(error.detail)
            with contextlib.suppress(Conflict):  # the outcome was written although its answer was lost
                self.dataset.write_intent(intent, pending.etag)
            path.unlink()

    def _store(self, stats: FetchStats, intent: IntentDocument, answer: Answer) -> tuple[int, bool]:
        """The answer's batch number, and whether it is new. Raises SourceUnavailable if it is not a batch."""
        number, rows = read_batch(answer.body)
        self.check_source(answer.made_up)
        report = check_rows(rows, self.pipeline)
        shown = self.source.document
        seen = [(sample.meta.generation, sample.batch) for sample in self.dataset.samples()]
        meta = SampleMeta(
            batch=number,
            sha256=sample_digest(answer.body),
            format="json",
            time=answer.received,
            intent=intent.id,
            source=SampleSource(url=shown.location, params=shown.params),
            made_up=answer.made_up,
            generation=next_generation(seen, number),
            **vars(report),
        )
        stored = self.dataset.add_sample(answer.body, meta)
        stats.add(number, stored, report)
        return number, stored
