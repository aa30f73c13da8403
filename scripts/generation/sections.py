"""Replaces a generated section of a page."""

from __future__ import annotations


def replaced(page: str, name: str, text: str) -> str:
    """The page with the text between its markers `<!-- NAME -->`. Raises ValueError if it lacks them."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no {begin.strip()} and {end}")
    return f"{before}{begin}{text}{end}{after}"
