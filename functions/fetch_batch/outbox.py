"""Answers of a source that the store could not take: they wait in the scratch folder for the next fetch."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import Base64Bytes

from common.documents import DamagedDocument, Document, RedactedText
from common.logging import log
from common.storage.dataset import IntentDocument
from fetch_batch.settings import FetchSettings


@dataclass(frozen=True)
class Answer:
    """What a batch-api answered; `made_up`: it calls its data made up."""

    body: bytes
    made_up: bool
    received: str


class Pending(Document):
    """An intent whose answer or outcome could not be stored. `body`: None if no answer is worth storing."""

    store: str | None
    intent: IntentDocument
    etag: str
    outcome: RedactedText | None
    body: Base64Bytes | None = None
    made_up: bool = False
    received: str = ""

    @property
    def answer(self) -> Answer | None:
        return None if self.body is None else Answer(self.body, self.made_up, self.received)


class Entry(NamedTuple):
    """A file of the outbox and its content."""

    path: Path
    pending: Pending


class Outbox:
    """One file for each intent of one pipeline and one store; the files of other stores stay where they are."""

    def __init__(self, settings: FetchSettings, pipeline: str) -> None:
        self.folder = settings.scratch / "waiting" / pipeline
        self.store = settings.store
        self.pipeline = pipeline

    def keep(self, intent: IntentDocument, etag: str, outcome: str | None, answer: Answer | None) -> None:
        """Keep what is known about an intent. If the scratch folder fails too, it counts as a lost answer."""
        pending = Pending(store=self.store, intent=intent, etag=etag, outcome=outcome)
        if answer is not None:
            pending = pending.model_copy(update=vars(answer))
        path = self.folder / f"{intent.id}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.with_suffix(".part").open("wb") as file:
                file.write(pending.encode())
                file.flush()
                os.fsync(file.fileno())
            path.with_suffix(".part").rename(path)
        except OSError as error:
            log("answer lost", logging.WARNING, pipeline=self.pipeline, why=f"{path}: {error.strerror}")

    def all(self) -> Iterator[Entry]:
        """What waits for this store, oldest first, with its file."""
        waiting: list[Entry] = []
        for path in self.folder.glob("*.json"):
            try:
                pending = Pending.decode(path.read_bytes(), str(path))
            except FileNotFoundError:
                continue  # a fetch has just stored it
            except (OSError, DamagedDocument) as error:
                log("answer lost", logging.WARNING, pipeline=self.pipeline, why=f"{path} can't be read: {error}")
                continue
            if pending.store == self.store:
                waiting.append(Entry(path, pending))
        waiting.sort(key=lambda entry: (entry.pending.intent.time, entry.path.name))
        yield from waiting

    def intents(self) -> set[str]:
        """Ids of the intents that wait: none of them is lost."""
        return {pending.intent.id for _, pending in self.all()}
