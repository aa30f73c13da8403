"""Checks a running deployment from outside, as its users reach it: a picture, a row, and what must stay closed."""

from __future__ import annotations

import argparse
import json
import struct
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import InsecureRequestWarning

FUNCTIONS = ("classify", "fetch-batch", "train")
PROBLEM = "application/problem+json"
ROOT = Path(__file__).resolve().parents[2]
HERE = ("http://127.0.0.1", "http://localhost")
TIMEOUT_S = 35


class Wrong(Exception):
    """What a call answered instead of what it must."""


class Smoke:
    """The checks of one deployment; `told` is one (name, ok, words) for each."""

    def __init__(self, url: str, verify: bool = True, picture: Path | None = None, no_model: bool = False) -> None:
        self.url, self.picture, self.no_model = url.rstrip("/"), picture, no_model
        self.session = requests.Session()
        self.session.trust_env = not self.url.startswith(HERE)  # no proxy for calls of this machine
        self.verify = verify
        self.told: list[tuple[str, bool, str]] = []

    def run(self, functions: Collection[str]) -> None:
        """All checks of these functions."""
        if "classify" in functions:
            self._check("site", self._site)
            names: list[dict[str, Any]] = []
            self._check("classify", partial(self._index, names))
            for one in names:
                self._check(f"classify/{one['name']}", partial(self._predict, one))
                self._check(f"classify/{one['name']}, bad input", partial(self._refuse, one))
        for name in pipelines():
            if "fetch-batch" in functions:
                self._check(f"fetch-batch/{name}", partial(self._collected, name))
            if "train" in functions:
                self._check(f"train/{name}", partial(self._trained, name))
                self._check(f"train/{name}, no token", partial(self._closed, name))
        self._check("the gateway's own calls", self._not_for_strangers)

    def _check(self, name: str, call: Callable[[], str]) -> None:
        try:
            self.told.append((name, True, call()))
        except Wrong as error:
            self.told.append((name, False, str(error)))
        except requests.RequestException as error:
            self.told.append((name, False, f"no answer: {type(error).__name__}"))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            self.told.append((name, False, f"an answer of another shape: {type(error).__name__}: {error}"))

    def _call(self, method: str, path: str, **given: Any) -> requests.Response:
        # `verify` with each call: a variable of the shell (REQUESTS_CA_BUNDLE) would count over the session's.
        return self.session.request(
            method, f"{self.url}{path}", timeout=TIMEOUT_S, allow_redirects=False, verify=self.verify, **given
        )

    def _ask(self, method: str, path: str, status: int, **given: Any) -> requests.Response:
        answer = self._call(method, path, **given)
        if answer.status_code != status:
            raise Wrong(f"{answer.status_code} instead of {status}: {answer.text[:200].strip()}")
        return answer

    def _site(self) -> str:
        answer = self._call("GET", "/")
        if answer.status_code == 200 and "main.js" in answer.text:
            return "the page is there"
        if self.url.startswith("https://") or answer.status_code >= 500:
            raise Wrong(f"no page at /: {answer.status_code}")
        return "no page here: this is a gateway without the door"

    def _index(self, names: list[dict[str, Any]]) -> str:
        names += self._ask("GET", "/function/classify/", 200).json()["pipelines"]
        return ", ".join(f"{one['name']} {one['version'] or '(no version yet)'}" for one in names)

    def _predict(self, one: dict[str, Any]) -> str:
        path = f"/function/classify/{one['name']}"
        if not one["ready"]:
            if not self.no_model:
                raise Wrong("no version serves yet (--no-model lets that pass)")
            self._ask("POST", path, 503, **self._input(one["kind"], {}))
            return "503, as long as no version serves"
        card = self._ask("GET", path, 200).json()
        began = time.perf_counter()
        found = self._ask("POST", path, 200, **self._input(one["kind"], card)).json()
        ms = (time.perf_counter() - began) * 1000
        first = found["predictions"][0]
        labels = {label["value"] for label in card["labels"]}
        if set(first["probabilities"]) != labels or abs(sum(first["probabilities"].values()) - 1) > 1e-3:
            raise Wrong(f"probabilities that are none: {first['probabilities']}")
        what = "a picture" if one["kind"] == "image" else "a row"
        sure = f"{first['title']['en']!r}, {first['confidence']:.1%} ({first['status']}"
        return f"{what} is {sure}, version {found['model']['version']}, {ms:.0f} ms)"

    def _input(self, kind: str, card: dict[str, Any]) -> dict[str, Any]:
        if kind == "image":
            body = self.picture.read_bytes() if self.picture else a_picture()
            return {"data": body, "headers": {"Content-Type": "image/jpeg" if self.picture else "image/png"}}
        return {"json": example_row(card) if card else {}}

    def _refuse(self, one: dict[str, Any]) -> str:
        if not one["ready"]:
            return "not asked: no version serves yet"
        kind = "image/jpeg" if one["kind"] == "image" else "application/json"
        path = f"/function/classify/{one['name']}"
        answer = self._call("POST", path, data=b"{ neither", headers={"Content-Type": kind})
        if answer.status_code not in (400, 422) or answer.headers.get("Content-Type") != PROBLEM:
            raise Wrong(f"{answer.status_code} {answer.headers.get('Content-Type')}: {answer.text[:200]}")
        return f"{answer.status_code}, and says what is wrong"

    def _collected(self, name: str) -> str:
        told = self._ask("GET", f"/function/fetch-batch/{name}", 200).json()
        lost = f", {told['lost_answers']} answers lost" if told["lost_answers"] else ""
        return f"{told['examples']} examples in {told['samples']} samples{lost}"

    def _trained(self, name: str) -> str:
        told = self._ask("GET", f"/function/train/{name}", 200).json()
        return f"{told['state']}{': ' + told['reason'] if told['reason'] else ''}"

    def _closed(self, name: str) -> str:
        answer = self._ask("POST", f"/function/train/{name}", 401, json={"force": False})
        if answer.headers.get("Content-Type") != PROBLEM:
            raise Wrong(f"401, but {answer.headers.get('Content-Type')}")
        return "401"

    def _not_for_strangers(self) -> str:
        answer = self._call("GET", "/system/functions")
        if answer.status_code == 200 and not self.url.startswith(HERE):
            raise Wrong("/system/functions answers a stranger: the gateway is open")
        return f"/system/functions: {answer.status_code}"


def pipelines() -> list[str]:
    """The names of the pipeline files."""
    return sorted(path.stem for path in (ROOT / "functions" / "pipelines").glob("*.toml"))


def example_row(card: dict[str, Any]) -> dict[str, Any]:
    """A row of the example values of a model card's input."""
    return {name: column["examples"][0] for name, column in card["input"]["schema"]["properties"].items()}


def a_picture(width: int = 96, height: int = 96) -> bytes:
    """A PNG with a slope of colours; each row is a shift of one pattern, so that a large one is made in a moment."""
    pattern = bytes(part for x in range(2 * width) for part in (x * 2 % 256, x * 5 // 7 % 256, x // 3 % 256))
    rows = b"".join(b"\0" + pattern[3 * (y % width) : 3 * (y % width + width)] for y in range(height))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def smoke(
    url: str,
    functions: Collection[str] = FUNCTIONS,
    *,
    verify: bool = True,
    picture: Path | None = None,
    no_model: bool = False,
    wait_s: float = 0,
    as_json: bool = False,
) -> int:
    """Run the checks, again for `wait_s` while some fail, and print them; the number of those that failed."""
    until = time.monotonic() + wait_s
    while True:
        checks = Smoke(url, verify, picture, no_model)
        checks.run(functions)
        failed = sum(not ok for _, ok, _ in checks.told)
        if not failed or time.monotonic() >= until:
            break
        time.sleep(1)
    if as_json:
        listed = [{"check": name, "ok": ok, "told": words} for name, ok, words in checks.told]
        print(json.dumps({"url": url, "failed": failed, "checks": listed}))
        return failed
    for name, ok, words in checks.told:
        print(f"    {'ok  ' if ok else 'FAIL'} {name}: {words}", flush=True)
    return failed


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/smoke", description=__doc__)
    parser.add_argument("url", metavar="URL", help="of the door or the gateway, e.g. https://example.org")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="a JPEG to classify (default: a made-up picture)")
    parser.add_argument("--insecure", action="store_true", help="let a self-signed certificate pass")
    parser.add_argument("--no-model", action="store_true", help="let pipelines pass that have no version yet")
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="go on asking while checks fail")
    parser.add_argument("--json", action="store_true", help="one JSON object for programs")
    given = parser.parse_args(argv)
    if not given.url.startswith(("http://", "https://")):
        parser.error(f"{given.url}: begin it with http:// or https://")
    if given.picture is not None and not given.picture.is_file():
        parser.error(f"no file {given.picture}")
    if given.insecure:
        warnings.simplefilter("ignore", InsecureRequestWarning)
    failed = smoke(
        given.url,
        verify=not given.insecure,
        picture=given.picture,
        no_model=given.no_model,
        wait_s=given.wait,
        as_json=given.json,
    )
    if failed and not given.json:
        print(f"! {failed} checks failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
