"""What the clients send: rows of a model card's examples, and pictures that are made up or one's own."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from deployment.smoke import TIMEOUT_S, a_picture, example_row

ROWS = 1000
SMALL, LARGE = (160, 160), (4000, 3000)  # the large one: 12 megapixels, the most that classify takes of a PNG
TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PN": "image/png", b"RIF": "image/webp", b"GIF": "image/gif"}


@dataclass(frozen=True)
class Input:
    """One kind of call of one pipeline."""

    pipeline: str
    name: str
    body: bytes
    content_type: str


def serving(url: str, verify: bool, wanted: Collection[str] | None, pictures: Collection[Path]) -> list[Input]:
    """The inputs of the pipelines that serve, of all or of those `wanted`.

    Raises RequestException, KeyError, ValueError where something else than classify answers.
    """
    found = []
    with requests.Session() as session:
        session.verify, session.trust_env = verify, False
        index = f"{url.rstrip('/')}/function/classify/"
        for one in _asked(session, index)["pipelines"]:
            if one["ready"] and (wanted is None or one["name"] in wanted):
                found += _inputs(one["name"], _asked(session, f"{index}{one['name']}"), pictures)
    return found


def _asked(session: requests.Session, url: str) -> dict[str, Any]:
    answer = session.get(url, timeout=TIMEOUT_S, allow_redirects=False)
    answer.raise_for_status()
    return dict(answer.json())


def _inputs(pipeline: str, card: dict[str, Any], pictures: Collection[Path]) -> list[Input]:
    if card["kind"] == "image":
        made = {"PNG, 160 x 160": a_picture(*SMALL), "PNG, 4000 x 3000": a_picture(*LARGE)}
        own = {file.name: file.read_bytes() for file in pictures}
        return [Input(pipeline, name, body, TYPES.get(body[:3], "image/bmp")) for name, body in (own or made).items()]
    row = example_row(card)
    bodies = {"1 row": json.dumps(row), f"{ROWS} rows": json.dumps([row] * ROWS)}
    return [Input(pipeline, name, body.encode(), "application/json") for name, body in bodies.items()]
