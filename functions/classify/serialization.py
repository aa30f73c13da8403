"""Predictions as CSV or JSON text, one chunk for each block of rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np

from common.inference.contract import Contract
from common.inference.network import Array
from common.inference.predictions import STATUSES, predictions, statuses
from common.web import answer, to_json

Blocks = Iterator[tuple[Array, Array]]


def csv_chunks(name: str, version: str, blocks: Blocks, contract: Contract) -> Iterator[bytes]:
    """A header, then a line for each prediction. Blocks: probabilities (n, labels) and novelty (n,)."""
    values = contract.label_values
    shares = [f"probability_{value}" for value in values]
    yield (_line(["label", "status", "confidence", *shares, "version"]) + "\r\n").encode()
    quoted = [_line([value]).encode() for value in values]
    begun = {status: f",{status}".encode() for status in STATUSES}
    end = f",{_line([version])}\r\n".encode()
    for probabilities, novelty in blocks:
        texts = statuses(probabilities, novelty, contract.thresholds)
        best = probabilities.argmax(axis=1).tolist()
        rows = _decimals(np.column_stack([probabilities.max(axis=1), probabilities]))
        lines = [
            quoted[place] + begun[status] + row + end for place, status, row in zip(best, texts, rows, strict=True)
        ]
        yield b"".join(lines)


def _decimals(shares: Array) -> list[bytes]:
    """Finite shares (n, k) -> for each row `,0.123456` k times, none above 1, all rows digit by digit at once.

    Python's own number formatting takes longer than everything else in a line.
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


def json_chunks(name: str, version: str, blocks: Blocks, contract: Contract) -> Iterator[bytes]:
    """The same document as for few rows."""
    whole = answer({"pipeline": name, "model": {"name": name, "version": version}, "predictions": []}).get_data()
    head, _, tail = whole.rpartition(b"[]")
    yield head + b"["
    begun = False
    for block in blocks:
        text = to_json(predictions(*block, contract))[1:-1]
        yield f"{',' if begun else ''}{text}".encode()
        begun = True
    yield b"]" + tail


def _line(values: list[str]) -> str:
    """One line of CSV, quoted where necessary."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
