"""Answers that the store could not take when they came: they wait in the scratch folder for the next fetch."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.log import log
from common.settings import Settings


class Waiting:
    """One file for each intent, of one pipeline and one store; another store's answers stay where they are."""

    def __init__(self, settings: Settings, pipeline: str) -> None:
        self.folder = settings.scratch / "waiting" / pipeline
        self.store = settings.store
        self.pipeline = pipeline

    def keep(self, intent: dict[str, Any], etag: str, outcome: str | None, **answer: Any) -> None:
        """Keep what is known of an intent; `answer` holds the body (bytes) and what belongs to it, if one came.

        A scratch folder that can't be written either is logged: then the intent counts as a lost answer.
        """
        body = answer.pop("body", None)
        whole = {"store": self.store, "intent": intent, "etag": etag, "outcome": outcome, **answer}
        whole["body"] = None if body is None else base64.b64encode(body).decode()
        path = self.folder / f"{intent['id']}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.with_suffix(".part").open("w") as file:
                file.write(json.dumps(whole))
                file.flush()
                os.fsync(file.fileno())
            path.with_suffix(".part").rename(path)
        except OSError as error:
            log("answer lost", logging.WARNING, pipeline=self.pipeline, why=f"{path}: {error.strerror}")

    def all(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """What waits for this store, oldest first: the file, and its content with the body as bytes."""
        found = []
        for path in self.folder.glob("*.json"):
            try:
                whole = json.loads(path.read_text())
            except FileNotFoundError:
                continue  # a fetch has just stored it
            except (OSError, ValueError) as error:
                log("answer lost", logging.WARNING, pipeline=self.pipeline, why=f"{path} can't be read: {error}")
                continue
            if whole["store"] == self.store:
                whole["body"] = None if whole["body"] is None else base64.b64decode(whole["body"])
                found.append((path, whole))
        yield from sorted(found, key=lambda one: (one[1]["intent"]["time"], one[0].name))

    def intents(self) -> set[str]:
        """Ids of the intents that wait: none of them is lost."""
        return {whole["intent"]["id"] for _, whole in self.all()}
