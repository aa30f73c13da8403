"""A bundle on disk: the exported network, golden examples, and the signed contract.json that binds them."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from common.documents import field_errors
from common.errors import BundleRefused
from common.inference.contract import Contract, Kind
from common.inference.features import Encoder, read_row
from common.inference.network import Array, Network
from common.inference.pictures import decode_picture, picture_view
from common.json_types import Json

FORMAT = 1
CONTRACT, NETWORK, GOLDEN = "contract.json", "network.tflite", "golden.npz"
# Largest differences from training's probabilities: rows, picture files, decoded pictures.
MAX_ROWS_DIFFERENCE, MAX_FILES_DIFFERENCE, MAX_PIXELS_DIFFERENCE = 1e-4, 0.02, 1e-3


def signature(contract: Mapping[str, Json], key: str) -> str:
    """Hex HMAC-SHA256 of a contract without its own, under the bundle key."""
    body = json.dumps({k: v for k, v in contract.items() if k != "hmac"}, sort_keys=True, ensure_ascii=False)
    return hmac.new(key.encode(), body.encode(), hashlib.sha256).hexdigest()


def read_contract(text: bytes, key: str) -> Contract:
    """The contract, if this deployment signed it. Raises BundleRefused with the reason."""
    try:
        contract = json.loads(text)
        signed = hmac.compare_digest(str(contract["hmac"]), signature(contract, key))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BundleRefused("contract.json is not a signed contract") from None
    if not signed:
        raise BundleRefused("contract.json is not signed with this deployment's bundle-key, or was altered")
    if contract.get("format") != FORMAT:
        raise BundleRefused(f"contract.json has format {contract.get('format')}; this code reads {FORMAT}")
    try:
        known = Contract.model_validate(contract)
    except ValidationError as error:
        wrong = "; ".join(f"{one.field}: {one.detail}" for one in field_errors(error)[:3])
        raise BundleRefused(f"contract.json lacks what this code needs ({wrong})") from None
    if any("/" in name or name.startswith(".") for name in known.files):
        raise BundleRefused("contract.json names a file outside the bundle")
    return known


class Bundle:
    """A verified bundle, ready to predict. Raises BundleRefused if a file or a golden answer differs.

    `made_for`: name and kind of its pipeline. A bundle that is registered under another name keeps its signature.
    """

    def __init__(self, folder: Path, key: str, made_for: tuple[str, Kind] | None = None) -> None:
        self.folder = folder
        try:
            self.contract = read_contract((folder / CONTRACT).read_bytes(), key)
            if made_for is not None:
                _check_made_for(self.contract, *made_for)
            files = {name: (folder / name).read_bytes() for name in self.contract.files}
        except OSError as error:
            raise BundleRefused(f"the bundle in {folder} is incomplete: {error.strerror}") from None
        for name, digest in self.contract.files.items():
            if hashlib.sha256(files[name]).hexdigest() != digest:
                raise BundleRefused(f"{name} is not the file that was signed")
        if not {NETWORK, GOLDEN} <= files.keys():
            raise BundleRefused("contract.json lists no network or no golden examples")
        # The bytes that were hashed are the ones that run; the folder may be deleted while it serves.
        self.network, self._golden = Network(files[NETWORK]), files[GOLDEN]
        self.encoder = Encoder(self.contract.row_features) if self.contract.kind == "tabular" else None
        self.view = picture_view(self.contract.picture_features) if self.contract.kind == "image" else None

    def encode(self, inputs: list[Any]) -> Array:
        """Raw inputs (rows as tuples of values, or pictures as files) -> what the network takes.

        Raises Unusable for a file that is not a picture. Pictures of callers are checked before (read_picture).
        """
        if self.encoder is not None:
            return self.encoder.rows(inputs)
        if self.view is None:
            raise TypeError(f"{self.contract.pipeline} takes neither rows nor pictures")
        pixels = np.empty((len(inputs), self.view.size, self.view.size, 3), np.float32)
        for place, body in enumerate(inputs):
            pixels[place] = decode_picture(body, self.view, None)
        return pixels

    def predict(self, inputs: list[Any]) -> tuple[Array, Array]:
        """Raw inputs -> probabilities (n, labels) and novelty (n,). Pictures one by one: decoded, they are large."""
        if self.encoder is not None or len(inputs) < 2:
            return self.network.predict(self.encode(inputs))
        answers = [self.network.predict(self.encode([one])) for one in inputs]
        return np.concatenate([one[0] for one in answers]), np.concatenate([one[1] for one in answers])

    def check_golden(self) -> None:
        """Answer the golden examples again. Raises BundleRefused if an answer differs from training's."""
        with np.load(io.BytesIO(self._golden), allow_pickle=False) as golden:
            expected = golden["probabilities"]
            if self.contract.kind == "image":
                answers, _ = self.network.predict(golden["pixels"].astype(np.float32))
                _compare("the decoded pictures", answers, expected, MAX_PIXELS_DIFFERENCE)
                ends = np.cumsum(golden["lengths"])
                files = [bytes(file) for file in np.split(golden["files"], ends[:-1])]
                _compare("the picture files", self.predict(files)[0], expected, MAX_FILES_DIFFERENCE)
                return
            columns = self.contract.columns
            rows = [read_row(json.loads(str(row)), columns)[0] for row in golden["rows"]]
        answers = self.predict(rows)[0]
        _compare("the rows", answers, expected, MAX_ROWS_DIFFERENCE)
        if (answers.argmax(axis=1) != expected.argmax(axis=1)).any():
            raise BundleRefused("a golden row gets another label than in training")


def _check_made_for(contract: Contract, pipeline: str, kind: Kind) -> None:
    if (contract.pipeline, contract.kind) != (pipeline, kind):
        raise BundleRefused(
            f"the bundle was made for pipeline {contract.pipeline!r} of kind {contract.kind}, "
            f"not for {pipeline!r} of kind {kind}"
        )


def _compare(what: str, answers: Array, expected: Array, limit: float) -> None:
    difference = float(np.abs(answers - expected).max())
    if not difference <= limit:
        raise BundleRefused(
            f"golden examples: {what} get probabilities up to {difference:.4f} away from training's; {limit} is allowed"
        )
