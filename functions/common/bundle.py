"""A bundle on disk: the exported network, golden examples and the signed contract.json that binds them."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import BundleRefused
from common.features import Encoder, read_row
from common.network import Array, Network
from common.pictures import decode_picture, picture_view

FORMAT = 1
CONTRACT, NETWORK, GOLDEN = "contract.json", "network.tflite", "golden.npz"
ROWS_APART, FILES_APART = 1e-4, 0.02
PIXELS_APART = 1e-3


def signature(contract: dict[str, Any], key: str) -> str:
    """hex HMAC-SHA256 of a contract without its own, under the bundle key."""
    body = json.dumps({k: v for k, v in contract.items() if k != "hmac"}, sort_keys=True, ensure_ascii=False)
    return hmac.new(key.encode(), body.encode(), hashlib.sha256).hexdigest()


def sign_bundle(folder: Path, contract: dict[str, Any], key: str) -> dict[str, Any]:
    """Write contract.json with the sha256 of every other file and the HMAC over all; returns the whole contract."""
    names = sorted(path.name for path in folder.iterdir() if path.name != CONTRACT)
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    whole: dict[str, Any] = {"format": FORMAT, **contract, "files": files}
    whole["hmac"] = signature(whole, key)
    (folder / CONTRACT).write_text(json.dumps(whole, indent=1, ensure_ascii=False), encoding="utf-8")
    return whole


def check_contract(text: bytes, key: str) -> dict[str, Any]:
    """The contract, if it is ours. Raises BundleRefused, saying why."""
    try:
        contract = json.loads(text)
        signed = hmac.compare_digest(str(contract["hmac"]), signature(contract, key))
    except (ValueError, KeyError, TypeError):
        raise BundleRefused("contract.json is not a signed contract") from None
    if not signed:
        raise BundleRefused("contract.json is not signed with this deployment's bundle-key, or was altered")
    if contract["format"] != FORMAT:
        raise BundleRefused(f"contract.json has format {contract['format']}; this code reads {FORMAT}")
    if any("/" in name or name.startswith(".") for name in contract["files"]):
        raise BundleRefused("contract.json names a file outside the bundle")
    return dict(contract)


class Bundle:
    """A verified bundle, ready to predict. Raises BundleRefused if a file or a golden answer differs."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        try:
            self.contract = check_contract((folder / CONTRACT).read_bytes(), key)
            files = {name: (folder / name).read_bytes() for name in self.contract["files"]}
        except OSError as error:
            raise BundleRefused(f"the bundle in {folder} is not whole: {error.strerror}") from None
        for name, digest in self.contract["files"].items():
            if hashlib.sha256(files[name]).hexdigest() != digest:
                raise BundleRefused(f"{name} is not the file that was signed")
        if not {NETWORK, GOLDEN} <= files.keys():
            raise BundleRefused("contract.json names no network or no golden examples")
        # What was hashed is what runs; the folder may go while it serves.
        self.network, self._golden = Network(files[NETWORK]), files[GOLDEN]
        self.encoder = Encoder(self.contract["features"]["columns"]) if self.contract["kind"] == "tabular" else None

    def encode(self, inputs: list[Any]) -> Array:
        """Raw inputs -> what the network takes: rows as tuples of values, pictures as encoded files.

        Raises Unusable for a file that is no picture.
        """
        if self.encoder is None:
            view = picture_view(self.contract["features"])
            found = np.empty((len(inputs), view.size, view.size, 3), np.float32)
            for place, body in enumerate(inputs):
                found[place] = decode_picture(body, view)
            return found
        return self.encoder.rows(inputs)

    def predict(self, inputs: list[Any]) -> tuple[Array, Array]:
        """Raw inputs -> probabilities (n, labels) and novelty (n,). Pictures one by one: decoded, they are large."""
        if self.encoder is not None or len(inputs) < 2:
            return self.network.predict(self.encode(inputs))
        parts = [self.network.predict(self.encode([one])) for one in inputs]
        return np.concatenate([one[0] for one in parts]), np.concatenate([one[1] for one in parts])

    def check_golden(self) -> None:
        """Answer the golden examples again. Raises BundleRefused if an answer differs from training's."""
        with np.load(io.BytesIO(self._golden), allow_pickle=False) as golden:
            wanted = golden["probabilities"]
            if self.contract["kind"] == "image":
                pixels, _ = self.network.predict(golden["pixels"].astype(np.float32))
                _compare("the decoded pictures", pixels, wanted, PIXELS_APART)
                ends = np.cumsum(golden["lengths"])
                files = [bytes(part) for part in np.split(golden["files"], ends[:-1])]
                _compare("the picture files", self.predict(files)[0], wanted, FILES_APART)
                return
            columns = self.contract["columns"]
            rows = [read_row(json.loads(str(row)), columns)[0] for row in golden["rows"]]
        answers = self.predict(rows)[0]
        _compare("the rows", answers, wanted, ROWS_APART)
        if (answers.argmax(axis=1) != wanted.argmax(axis=1)).any():
            raise BundleRefused("a golden row gets another label than in training")


def _compare(what: str, answers: Array, wanted: Array, apart: float) -> None:
    worst = float(np.abs(answers - wanted).max())
    if not worst <= apart:
        raise BundleRefused(f"golden examples: {what} answer up to {worst:.4f} apart from training, {apart} at most")
