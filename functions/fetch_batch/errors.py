"""What can go wrong with a source."""

from __future__ import annotations

from common.errors import SabuesoError


class SourceUnavailable(SabuesoError):
    """The source does not answer, or its answer is not a batch. The next fetch asks again."""

    status, kind, title = 503, "source-unavailable", "Source unavailable"


class SourceExhausted(SabuesoError):
    """The source says that it has no more data to give."""

    status, kind, title = 409, "source-exhausted", "Source exhausted"


class SourceChanged(SabuesoError):
    """The store holds data of another source; mixing the two would be silent damage."""

    status, kind, title = 409, "source-changed", "Source changed"
