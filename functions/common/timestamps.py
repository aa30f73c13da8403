"""The one spelling of a point in time, in documents and answers."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp() -> str:
    """Now, UTC, to the millisecond: 2026-01-31T12:00:00.000Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
