"""What the commands take on their command lines."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection


def whole_number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text}: from {least} to {most}")
        return int(text)

    return read


def names(known: Collection[str] = ()) -> Callable[[str], list[str]]:
    """NAME,NAME; of those that are known, if any are."""

    def read(text: str) -> list[str]:
        if known and (wrong := [name for name in text.split(",") if name not in known]):
            raise argparse.ArgumentTypeError(f"no {', '.join(wrong)}; there are: {', '.join(known)}")
        return text.split(",")

    return read
