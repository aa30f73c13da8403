"""What is done on an event loop must be brief: what takes longer refuses, and is done in a thread instead."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

Result = TypeVar("Result")
_BRIEF: ContextVar[bool] = ContextVar("brief", default=False)


class TakesLong(Exception):
    """It was not done, since it takes longer than the others on the event loop shall wait."""


def briefly(work: Callable[[bytes], Result], body: bytes) -> Result:
    """What `work` makes of the body. Raises TakesLong if some of it refuses."""
    before = _BRIEF.set(True)
    try:
        return work(body)
    finally:
        _BRIEF.reset(before)


def refuse_if_brief() -> None:
    """Told by what takes long, before it begins. Raises TakesLong under `briefly`."""
    if _BRIEF.get():
        raise TakesLong
