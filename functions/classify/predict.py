"""From a call to its answer: rows or pictures in, predictions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import numpy as np
from flask import Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from classify.champions import Champion, Champions
from classify.explain import explain_pictures, explain_rows
from classify.inputs import check_pictures, encoded_blocks, errors_of, picture_field, picture_files, read_values
from classify.serialization import csv_chunks, json_chunks
from classify.settings import ClassifySettings
from classify.slots import Slots
from common.admission import Environ
from common.errors import Malformed, Unusable
from common.inference.network import Array
from common.inference.pictures import is_large
from common.inference.predictions import predictions
from common.json_types import JsonObject
from common.pipelines import PipelineHead, pick
from common.web import answer

# Bytes of rows that are read one call at a time: they may take 30 times as much memory.
LARGE_BODY = 500_000


@dataclass(frozen=True)
class Call:
    """`POST /<pipeline>`: the content type without its parameters; `files` are the pictures of a form."""

    name: str
    query: str
    mimetype: str
    accept: str
    body: bytes
    environ: Environ
    files: list[bytes] | None = None


@dataclass(frozen=True)
class Predictor:
    """Answers calls with the champions. Computing holds a slot."""

    pipelines: Mapping[str, PipelineHead]
    champions: Champions
    settings: ClassifySettings
    slots: Slots

    def predict(self, call: Call) -> Response:
        """Raises NotFound, NoModel, Malformed, WrongType, Unusable, Busy."""
        kind = pick(self.pipelines, call.name).kind
        explain = _wants_explanation(call.query)
        champion = self.champions.get(call.name)
        as_csv = _wants_csv(call.accept)
        if explain and as_csv:
            raise Malformed("explanations come as JSON only: leave out `explain`, or accept application/json")
        if kind == "image":
            files = call.files if call.files is not None else picture_files(call.mimetype, call.body)
            pictures = check_pictures(files, self.settings)
            with self.slots.compute(kind, is_large=any(map(is_large, pictures))):
                return self._pictures(call, champion, files, explain, as_csv)
        with self.slots.compute(kind, is_large=len(call.body) > LARGE_BODY):
            if explain:
                return self._explained_rows(call, champion)
            blocks = [
                champion.bundle.network.predict(encoded)
                for encoded in encoded_blocks(call.mimetype, call.body, champion.bundle, self.settings)
            ]
        if len(blocks) > 1:
            self.slots.begin_stream(call.environ)
        return _response(call.name, champion, blocks, as_csv)

    def _pictures(self, call: Call, champion: Champion, files: list[bytes], explain: bool, as_csv: bool) -> Response:
        bundle = champion.bundle
        if explain and "heat" not in bundle.network.outputs:
            raise Unusable(f"version {champion.version} has no explanations: train a new version")
        each = []
        for place, file in enumerate(files):
            with errors_of(picture_field(place, len(files))):
                pixels = bundle.encode([file])
            each.append(bundle.network.run(pixels))
        outputs = {name: np.concatenate([one[name] for one in each]) for name in each[0]}
        probabilities, novelty = outputs["probabilities"], outputs["novelty"].reshape(-1)
        explanations = explain_pictures(files, outputs["heat"], probabilities, bundle.contract) if explain else None
        return _response(call.name, champion, [(probabilities, novelty)], as_csv, explanations)

    def _explained_rows(self, call: Call, champion: Champion) -> Response:
        contract, settings = champion.bundle.contract, self.settings
        width = len(contract.columns)
        most = max(1, min(settings.max_explained, settings.max_values // (width * (width + 1))))
        rows = read_values(call.mimetype, call.body, contract, settings, most)
        probabilities, novelty, explanations = explain_rows(rows, champion.bundle)
        return _response(call.name, champion, [(probabilities, novelty)], False, explanations)


def _wants_explanation(query: str) -> bool:
    given = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
    explain = given.pop("explain", "0")
    if given:
        raise Malformed(f"unknown parameters: {', '.join(sorted(given))}")
    if explain not in ("0", "1"):
        raise Malformed(f"explain={explain[:40]}: must be 1 or 0")
    return explain == "1"


def _wants_csv(accept: str) -> bool:
    if "text/csv" not in accept:
        return False
    return parse_accept_header(accept, MIMEAccept).best_match(["application/json", "text/csv"]) == "text/csv"


def _response(
    name: str,
    champion: Champion,
    blocks: list[tuple[Array, Array]],
    as_csv: bool,
    explanations: Sequence[JsonObject] | None = None,
) -> Response:
    """Probabilities and novelty as an answer. A long one is formatted block by block while it is sent."""
    contract, version = champion.bundle.contract, champion.version
    if as_csv or len(blocks) > 1:
        chunks = (csv_chunks if as_csv else json_chunks)(name, version, iter(blocks), contract)
        mimetype = "text/csv" if as_csv else "application/json"
        return Response(chunks if len(blocks) > 1 else b"".join(chunks), mimetype=mimetype)
    answers: list[JsonObject] = [{**one} for one in predictions(*blocks[0], contract)]
    if explanations is not None:
        answers = [{**one, "explanation": why} for one, why in zip(answers, explanations, strict=True)]
    return answer({"pipeline": name, "model": {"name": name, "version": version}, "predictions": answers})
