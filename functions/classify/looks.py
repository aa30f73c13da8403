"""What looks at MLflow found, in memory that all processes of a replica share: the first looks, the others follow."""

from __future__ import annotations

import json
import mmap
import zlib
from typing import Any

# Bytes of the checksum and of the length that stand before the text; of text, so many for each pipeline at most.
WORD = 8
PIPELINE_BYTES = 8192


class Looks:
    """Made before the processes are forked."""

    def __init__(self, processes: int = 1, pipelines: int = 1) -> None:
        self._ended = mmap.mmap(-1, processes)
        self._text = mmap.mmap(-1, 2 * WORD + PIPELINE_BYTES * max(1, pipelines))
        self.shared = processes > 1

    @property
    def ended(self) -> bool:
        """True once every process knows what a first look found."""
        return all(self._ended[:])

    def end(self, place: int) -> None:
        """The process at that place knows what a look found."""
        self._ended[place] = 1

    def write(self, found: Any) -> None:
        """Tell the others, in place of what was told before. Raises ValueError if it is too long."""
        text = json.dumps(found).encode()
        whole = _word(zlib.crc32(text)) + _word(len(text)) + text
        if len(whole) > len(self._text):
            raise ValueError(f"{len(text)} bytes are more than there is room for")
        self._text[: len(whole)] = whole

    def read(self) -> Any:
        """What was told last; None if nothing was, or if it is being written at this moment."""
        told, length = (int.from_bytes(self._text[start : start + WORD]) for start in (0, WORD))
        text = self._text[2 * WORD : 2 * WORD + length]
        return json.loads(text) if length and zlib.crc32(text) == told else None


def _word(number: int) -> bytes:
    return number.to_bytes(WORD)
