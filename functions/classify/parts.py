"""Predictions as the text of an answer, CSV or JSON, in parts: a part for each block of rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from common.network import STATUSES, Array, predictions, statuses
from common.web import answer, as_text

Blocks = Iterator[tuple[Array, Array]]


def csv_parts(name: str, version: str, blocks: Blocks, contract: Mapping[str, Any]) -> Iterator[bytes]:
    """A header, then a line for each answer. Blocks: probabilities (n, labels) and novelty (n,)."""
    values = [label["value"] for label in contract["labels"]]
    shares = [f"probability_{value}" for value in values]
    yield (_line(["label", "status", "confidence", *shares, "version"]) + "\r\n").encode()
    quoted = [_line([value]).encode() for value in values]
    begun = {status: f",{status}".encode() for status in STATUSES}
    end = f",{_line([version])}\r\n".encode()
    for probabilities, novelty in blocks:
        told = statuses(probabilities, novelty, contract["thresholds"])
        best = probabilities.argmax(axis=1).tolist()
        rows = _decimals(np.column_stack([probabilities.max(axis=1), probabilities]))
        lines = [quoted[place] + begun[status] + row + end for place, status, row in zip(best, told, rows, strict=True)]
        yield b"".join(lines)


def _decimals(shares: Array) -> list[bytes]:
    """Finite shares (n, k) -> of each row `,0.123456` k times, none above 1; digit by digit, of all rows at once.

    Python's own formatting of numbers takes longer than all else of a row's line.
    """
    left = np.rint(shares.astype(np.float64).clip(max=1.0) * 1e6).astype(np.uint32)
    text = np.empty((*shares.shape, len(",0.123456")), np.uint8)
    text[:, :, 0], text[:, :, 2] = ord(","), ord(".")
    for place in (8, 7, 6, 5, 4, 3, 1):
        rest = left // 10
        text[:, :, place] = left - 10 * rest + ord("0")
        left = rest
    width = text.shape[1] * text.shape[2]
    return text.reshape(-1, width).view(f"S{width}")[:, 0].tolist()  # type: ignore[no-any-return]


def json_parts(name: str, version: str, blocks: Blocks, contract: Mapping[str, Any]) -> Iterator[bytes]:
    """The same document as of few rows."""
    whole = answer(pipeline=name, model={"name": name, "version": version}, predictions=[]).get_data()
    head, _, tail = whole.rpartition(b"[]")
    yield head + b"["
    begun = False
    for block in blocks:
        text = as_text(predictions(*block, contract))[1:-1]
        yield f"{',' if begun else ''}{text}".encode()
        begun = True
    yield b"]" + tail


def _line(values: list[str]) -> str:
    """One line of CSV, quoted where need be."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
