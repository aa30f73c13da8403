"""Types of command-line arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not minimum <= int(text) <= maximum:
            raise argparse.ArgumentTypeError(f"{text}: must be from {minimum} to {maximum}")
        return int(text)

    return read


def names(known: Collection[str] = ()) -> Callable[[str], list[str]]:
    """NAME,NAME; each must be in `known`, unless that is empty."""

    def read(text: str) -> list[str]:
        if known and (wrong := [name for name in text.split(",") if name not in known]):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(wrong)}; choose from {', '.join(known)}")
        return text.split(",")

    return read
