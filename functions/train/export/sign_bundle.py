"""Writes and signs contract.json."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from common.inference.bundle import CONTRACT, FORMAT, signature
from common.inference.contract import Contract


def sign_bundle(folder: Path, contract: Contract, key: str) -> Contract:
    """Write contract.json with the sha256 of every other file and the HMAC over all; returns the signed contract."""
    names = sorted(path.name for path in folder.iterdir() if path.name != CONTRACT)
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    document = {**contract.unsigned(), "format": FORMAT, "files": files}
    signed = {**document, "hmac": signature(document, key)}
    (folder / CONTRACT).write_text(json.dumps(signed, indent=1, ensure_ascii=False), encoding="utf-8")
    return contract.model_copy(update={"files": files, "hmac": signed["hmac"]})
