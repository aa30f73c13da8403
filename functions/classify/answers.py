"""From a call to its answer: rows or pictures in, predictions out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from flask import Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from classify.champions import Champion, Champions
from classify.explain import explain_pictures, explain_rows
from classify.inputs import encoded_blocks, picture_files, read_values
from classify.parts import csv_parts, json_parts
from common.bundle import Bundle
from common.errors import FieldError, Malformed, Unusable
from common.network import Array, predictions
from common.pipelines import Pipeline, pick
from common.web import answer

# An explanation takes several answers' time.
MOST_EXPLAINED = 100


@dataclass(frozen=True)
class Call:
    """`POST /<pipeline>`: the content type without its parameters; `files` are the pictures of a form."""

    name: str
    query: str
    mimetype: str
    accept: str
    body: bytes
    files: list[bytes] | None = None


@dataclass(frozen=True)
class Answers:
    """Answers calls with the champions; what computes holds a `slot`, and a long answer begins with `begin_stream`."""

    pipelines: Mapping[str, Pipeline]
    champions: Champions
    slot: Callable[[str], AbstractContextManager[None]]
    begin_stream: Callable[[], None]

    def reply(self, call: Call) -> Response:
        """Raises NotFound, NoModel, Malformed, WrongType, Unusable, Busy."""
        kind = pick(self.pipelines, call.name).kind
        explain = _explain(call.query)
        champion = self.champions.get(call.name)
        as_csv = _wants_csv(call.accept)
        if explain and as_csv:
            raise Malformed("an explanation is told in JSON alone: leave out `explain`, or accept application/json")
        with self.slot(kind):
            if champion.bundle.encoder is None:
                files = picture_files(call.mimetype, call.body) if call.files is None else call.files
                return _pictures(call.name, champion, files, explain, as_csv)
            if explain:
                return _explained_rows(call, champion)
            blocks = [
                champion.bundle.network.predict(encoded)
                for encoded in encoded_blocks(call.mimetype, call.body, champion.bundle)
            ]
        if len(blocks) > 1:
            self.begin_stream()
        return _told(call.name, champion, blocks, as_csv)


def _pictures(name: str, champion: Champion, files: list[bytes], explain: bool, as_csv: bool) -> Response:
    bundle = champion.bundle
    if explain and "heat" not in bundle.network.outputs:
        raise Unusable(f"version {champion.version} was made without explanations: train again")
    each = []
    for place, file in enumerate(files):
        field = "image" if len(files) == 1 else f"image[{place}]"
        each.append(bundle.network.run(_decoded(bundle, file, field)))
    found = {output: np.concatenate([one[output] for one in each]) for output in each[0]}
    probabilities, novelty = found["probabilities"], found["novelty"].reshape(-1)
    explanations = explain_pictures(files, found["heat"], probabilities, bundle.contract) if explain else None
    return _told(name, champion, [(probabilities, novelty)], as_csv, explanations)


def _explained_rows(call: Call, champion: Champion) -> Response:
    rows = read_values(call.mimetype, call.body, champion.bundle.contract["columns"])
    if len(rows) > MOST_EXPLAINED:
        raise Malformed(f"{len(rows)} rows; {MOST_EXPLAINED} are the most that are explained in one call")
    probabilities, novelty, explanations = explain_rows(rows, champion.bundle)
    return _told(call.name, champion, [(probabilities, novelty)], False, explanations)


def _explain(query: str) -> bool:
    given = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
    found = given.pop("explain", "0")
    if given:
        raise Malformed(f"unknown parameters: {', '.join(sorted(given))}")
    if found not in ("0", "1"):
        raise Malformed(f"explain={found[:40]}: 1 or 0")
    return found == "1"


def _wants_csv(accept: str) -> bool:
    if "text/csv" not in accept:
        return False
    return parse_accept_header(accept, MIMEAccept).best_match(["application/json", "text/csv"]) == "text/csv"


def _decoded(bundle: Bundle, file: bytes, field: str) -> Array:
    """Raises Unusable, naming the picture that is none."""
    try:
        return bundle.encode([file])
    except Unusable as error:
        raise Unusable(f"{field}: {error.detail}", (FieldError(field, error.detail),)) from None


def _told(
    name: str,
    champion: Champion,
    blocks: list[tuple[Array, Array]],
    as_csv: bool,
    explanations: list[dict[str, Any]] | None = None,
) -> Response:
    """Probabilities and novelty as an answer. The text of many rows is made block by block, while it is sent."""
    contract, version = champion.bundle.contract, champion.version
    if as_csv or len(blocks) > 1:
        parts = (csv_parts if as_csv else json_parts)(name, version, iter(blocks), contract)
        mimetype = "text/csv" if as_csv else "application/json"
        return Response(parts if len(blocks) > 1 else b"".join(parts), mimetype=mimetype)
    found = predictions(*blocks[0], contract)
    if explanations is not None:
        found = [{**one, "explanation": why} for one, why in zip(found, explanations, strict=True)]
    return answer(pipeline=name, model={"name": name, "version": version}, predictions=found)
