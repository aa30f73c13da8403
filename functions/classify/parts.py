"""Predictions as the text of an answer, CSV or JSON, in parts: a part for each block of rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from common.http import as_json, as_text
from common.network import Array, predictions, statuses

Blocks = Iterator[tuple[Array, Array]]


def csv_parts(name: str, version: str, blocks: Blocks, contract: Mapping[str, Any]) -> Iterator[bytes]:
    """A header, then a line for each answer. Blocks: probabilities (n, labels) and novelty (n,)."""
    values = [label["value"] for label in contract["labels"]]
    shares = [f"probability_{value}" for value in values]
    yield (_line(["label", "status", "confidence", *shares, "version"]) + "\r\n").encode()
    quoted = [_line([value]) for value in values]
    form = f"%s,%s,%.6f{',%.6f' * len(values)},{_line([version]).replace('%', '%%')}\r\n"
    for probabilities, novelty in blocks:
        told = statuses(probabilities, novelty, contract["thresholds"])
        best = probabilities.argmax(axis=1).tolist()
        rows = probabilities.astype("f8").clip(max=1.0).tolist()
        lines = [
            form % (quoted[place], status, row[place], *row)
            for place, status, row in zip(best, told, rows, strict=True)
        ]
        yield "".join(lines).encode()


def json_parts(name: str, version: str, blocks: Blocks, contract: Mapping[str, Any]) -> Iterator[bytes]:
    """The same document as of few rows."""
    whole = as_json(pipeline=name, model={"name": name, "version": version}, predictions=[]).body
    head, _, tail = bytes(whole).rpartition(b"[]")  # type: ignore[arg-type]
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
