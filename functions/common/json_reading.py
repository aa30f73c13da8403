"""Reads a JSON text whose size in memory, and depth, are bounded before it is parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from common.errors import Malformed

# A text of 20 MB may then take 280 MB of memory (each an object with a key of its own, of wide characters).
MAX_VALUES = 1_500_000
# Rows are nested 3 deep. Python's own limit is above what the stack of a server's thread holds.
MAX_DEPTH = 32
BRACKETS = b"[]{}"
NOT_STRUCTURE = bytes(set(range(256)) - set(BRACKETS + b'"'))
TEXT = re.compile(rb'"[^"]*"')


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def read_json(raw: bytes, max_values: int = MAX_VALUES, constant: Callable[[str], Any] = _no_constant) -> Any:
    """The value of a JSON text in UTF-8, UTF-16 or UTF-32. `constant`: what NaN and Infinity become.

    Raises Malformed.
    """
    encoding = json.detect_encoding(raw)
    if not encoding.startswith("utf-8"):
        try:
            raw = raw.decode(encoding).encode()
        except UnicodeError:
            raise Malformed("not JSON: no Unicode text") from None
    values = sum(map(raw.count, (b",", b"[", b"]", b"{", b"}")))
    if values > max_values:
        raise Malformed(f"the JSON has {values:,} commas and brackets; at most {max_values:,} are allowed")
    if _is_deep(raw):
        raise Malformed(f"the JSON is nested deeper than {MAX_DEPTH}")
    try:
        return json.loads(raw, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None


def _is_deep(raw: bytes) -> bool:
    """Whether brackets outside of texts are nested more than MAX_DEPTH deep; up to twice that may pass."""
    structure = raw.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, NOT_STRUCTURE)
    brackets = TEXT.sub(b"", structure.replace(b'""', b""))
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not brackets:
            return False
    # What is left was nested deeper, or never closed.
    return brackets.count(b"[") + brackets.count(b"{") > MAX_DEPTH
