"""From a call to its reply: rows or pictures in, predictions out. Knows nothing of who carries the call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from classify.champions import Champion, Champions
from classify.explain import explain_pictures, explain_rows
from classify.inputs import encoded_blocks, picture_files, read_values
from classify.parts import csv_parts, json_parts
from common.bundle import Bundle
from common.errors import FieldError, Malformed, Unusable
from common.http import Reply, as_json
from common.network import Array, predictions
from common.pipelines import Pipeline, pick

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


class Answers:
    """Answers calls with the champions. `threads`: inputs that are worked on at once."""

    def __init__(self, pipelines: Mapping[str, Pipeline], champions: Champions, threads: int) -> None:
        self.pipelines, self.champions, self.threads = pipelines, champions, threads
        self._workers = ThreadPoolExecutor(threads, "part")

    def reply(self, call: Call) -> Reply:
        """Raises NotFound, NoModel, Malformed, WrongType, Unusable."""
        pick(self.pipelines, call.name)
        explain = _explain(call.query)
        champion = self.champions.get(call.name)
        as_csv = _wants_csv(call.accept)
        if explain and as_csv:
            raise Malformed("an explanation is told in JSON alone: leave out `explain`, or accept application/json")
        bundle = champion.bundle
        if bundle.encoder is None:
            files = picture_files(call.mimetype, call.body) if call.files is None else call.files
            return self._pictures(call.name, champion, files, explain, as_csv)
        if explain:
            return self._explained_rows(call, champion)
        return self._rows(call, champion, as_csv)

    def _pictures(self, name: str, champion: Champion, files: list[bytes], explain: bool, as_csv: bool) -> Reply:
        if explain and "heat" not in champion.bundle.network.outputs:
            raise Unusable(f"version {champion.version} was made without explanations: train again")

        def run(place: int) -> dict[str, Array]:
            field = "image" if len(files) == 1 else f"image[{place}]"
            return champion.bundle.network.run(_decoded(champion.bundle, files[place], field))

        found = run(0) if len(files) == 1 else _joined(list(self._workers.map(run, range(len(files)))))
        probabilities, novelty = found["probabilities"], found["novelty"].reshape(-1)
        explanations = explain_pictures(found["heat"], probabilities, champion.bundle.contract) if explain else None
        return _whole(name, champion, probabilities, novelty, as_csv, explanations)

    def _explained_rows(self, call: Call, champion: Champion) -> Reply:
        rows = read_values(call.mimetype, call.body, champion.bundle.contract["columns"])
        if len(rows) > MOST_EXPLAINED:
            raise Malformed(f"{len(rows)} rows; {MOST_EXPLAINED} are the most that are explained in one call")
        probabilities, novelty, explanations = explain_rows(rows, champion.bundle)
        return _whole(call.name, champion, probabilities, novelty, False, explanations)

    def _rows(self, call: Call, champion: Champion, as_csv: bool) -> Reply:
        """Few rows at once. Of many, what is wrong is told before any answer; the first are worked on meanwhile."""
        bundle = champion.bundle
        blocks = encoded_blocks(call.mimetype, call.body, bundle)
        ahead = list(islice(blocks, 2))
        if len(ahead) == 1:
            return _whole(call.name, champion, *bundle.network.predict(ahead[0]), as_csv)
        running: list[Future[tuple[Array, Array]]] = []
        try:
            for encoded in chain(ahead, blocks):
                running.append(self._workers.submit(bundle.network.predict, encoded))
        except Exception:
            for one in running:
                one.cancel()
            raise
        parts = csv_parts if as_csv else json_parts
        answers = (one.result() for one in _taken(running))
        mimetype = "text/csv" if as_csv else "application/json"
        return Reply(200, mimetype, parts(call.name, champion.version, answers, bundle.contract))


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}


def _taken(running: list[Future[Any]]) -> Iterator[Future[Any]]:
    """One after another, each given up once it is; what is left when nobody takes more is not begun any more."""
    running.reverse()
    try:
        while running:
            yield running.pop()
    finally:
        for one in running:
            one.cancel()


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
    from werkzeug.datastructures import MIMEAccept
    from werkzeug.http import parse_accept_header

    return parse_accept_header(accept, MIMEAccept).best_match(["application/json", "text/csv"]) == "text/csv"


def _decoded(bundle: Bundle, file: bytes, field: str) -> Array:
    """Raises Unusable, naming the picture that is none."""
    try:
        return bundle.encode([file])
    except Unusable as error:
        raise Unusable(f"{field}: {error.detail}", (FieldError(field, error.detail),)) from None


def _whole(
    name: str,
    champion: Champion,
    probabilities: Array,
    novelty: Array,
    as_csv: bool,
    explanations: list[dict[str, Any]] | None = None,
) -> Reply:
    contract = champion.bundle.contract
    if as_csv:
        parts = csv_parts(name, champion.version, iter([(probabilities, novelty)]), contract)
        return Reply(200, "text/csv", b"".join(parts))
    found = predictions(probabilities, novelty, contract)
    if explanations is not None:
        found = [{**one, "explanation": why} for one, why in zip(found, explanations, strict=True)]
    return as_json(pipeline=name, model={"name": name, "version": champion.version}, predictions=found)
