"""Tests a running deployment from outside: classifies a picture and a row, and checks that private calls are closed."""

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

from common.redaction import redact, shown_url

FUNCTIONS = ("classify", "fetch-batch", "train")
PROBLEM = "application/problem+json"
ROOT = Path(__file__).resolve().parents[2]
LOCAL = ("http://127.0.0.1", "http://localhost")
TIMEOUT_S = 35


class CheckFailed(Exception):
    """A wrong answer to a call."""


class Smoke:
    """The checks of one deployment; `results` has (name, ok, message) of each."""

    def __init__(self, url: str, verify: bool = True, picture: Path | None = None, no_model: bool = False) -> None:
        self.url, self.picture, self.no_model = url.rstrip("/"), picture, no_model
        self.session = requests.Session()
        self.session.trust_env = not self.url.startswith(LOCAL)  # no HTTP proxy for calls on this machine
        self.verify = verify
        self.results: list[tuple[str, bool, str]] = []

    def run(self, functions: Collection[str]) -> None:
        """Run all checks of these functions."""
        if "classify" in functions:
            self._check("site", self._site)
            listed: list[dict[str, Any]] = []
            self._check("classify", partial(self._index, listed))
            for pipeline in listed:
                self._check(f"classify/{pipeline['name']}", partial(self._predict, pipeline))
                self._check(f"classify/{pipeline['name']}, bad input", partial(self._refuse, pipeline))
        for name in pipelines():
            if "fetch-batch" in functions:
                self._check(f"fetch-batch/{name}", partial(self._collected, name))
            if "train" in functions:
                self._check(f"train/{name}", partial(self._trained, name))
                self._check(f"train/{name}, no token", partial(self._needs_token, name))
        self._check("the gateway's own calls", self._gateway_is_closed)

    def _check(self, name: str, call: Callable[[], str]) -> None:
        try:
            self.results.append((name, True, call()))
        except CheckFailed as error:
            self.results.append((name, False, redact(str(error))))
        except requests.RequestException as error:
            self.results.append((name, False, f"no answer: {type(error).__name__}"))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            self.results.append((name, False, f"unexpected answer: {type(error).__name__}: {redact(str(error))}"))

    def _call(self, method: str, path: str, **given: Any) -> requests.Response:
        # `verify` with each call: REQUESTS_CA_BUNDLE overrides the session's setting.
        return self.session.request(
            method, f"{self.url}{path}", timeout=TIMEOUT_S, allow_redirects=False, verify=self.verify, **given
        )

    def _expect(self, method: str, path: str, status: int, **given: Any) -> requests.Response:
        answer = self._call(method, path, **given)
        if answer.status_code != status:
            raise CheckFailed(f"{answer.status_code} instead of {status}: {answer.text[:200].strip()}")
        return answer

    def _site(self) -> str:
        answer = self._call("GET", "/")
        if answer.status_code == 200 and "main.js" in answer.text:
            return "the page is served"
        if self.url.startswith("https://") or answer.status_code >= 500:
            raise CheckFailed(f"no page at /: {answer.status_code}")
        return "no page: a gateway without the reverse proxy"

    def _index(self, listed: list[dict[str, Any]]) -> str:
        """Adds the pipelines to `listed`."""
        listed += self._expect("GET", "/function/classify/", 200).json()["pipelines"]
        return ", ".join(f"{pipeline['name']} {pipeline['version'] or '(no champion yet)'}" for pipeline in listed)

    def _predict(self, pipeline: dict[str, Any]) -> str:
        path = f"/function/classify/{pipeline['name']}"
        if not pipeline["ready"]:
            if not self.no_model:
                raise CheckFailed("no champion yet (--no-model accepts that)")
            self._expect("POST", path, 503, **self._input(pipeline["kind"], {}))
            return "503: no champion yet"
        card = self._expect("GET", path, 200).json()
        began = time.perf_counter()
        answer = self._expect("POST", path, 200, **self._input(pipeline["kind"], card)).json()
        ms = (time.perf_counter() - began) * 1000
        first = answer["predictions"][0]
        labels = {label["value"] for label in card["labels"]}
        if set(first["probabilities"]) != labels or abs(sum(first["probabilities"].values()) - 1) > 1e-3:
            raise CheckFailed(f"invalid probabilities: {first['probabilities']}")
        what = "a picture" if pipeline["kind"] == "image" else "a row"
        details = f"{first['title']['en']!r}, {first['confidence']:.1%} ({first['status']}"
        return f"{what} is {details}, version {answer['model']['version']}, {ms:.0f} ms)"

    def _input(self, kind: str, card: dict[str, Any]) -> dict[str, Any]:
        if kind == "image":
            body = self.picture.read_bytes() if self.picture else make_picture()
            return {"data": body, "headers": {"Content-Type": "image/jpeg" if self.picture else "image/png"}}
        return {"json": example_row(card) if card else {}}

    def _refuse(self, pipeline: dict[str, Any]) -> str:
        if not pipeline["ready"]:
            return "skipped: no champion yet"
        media_type = "image/jpeg" if pipeline["kind"] == "image" else "application/json"
        path = f"/function/classify/{pipeline['name']}"
        answer = self._call("POST", path, data=b"{ neither", headers={"Content-Type": media_type})
        if answer.status_code not in (400, 422) or answer.headers.get("Content-Type") != PROBLEM:
            raise CheckFailed(f"{answer.status_code} {answer.headers.get('Content-Type')}: {answer.text[:200]}")
        return f"{answer.status_code} with a problem document"

    def _collected(self, name: str) -> str:
        status = self._expect("GET", f"/function/fetch-batch/{name}", 200).json()
        lost = f", {status['lost_answers']} answers lost" if status["lost_answers"] else ""
        return f"{status['examples']} examples in {status['samples']} samples{lost}"

    def _trained(self, name: str) -> str:
        status = self._expect("GET", f"/function/train/{name}", 200).json()
        return f"{status['state']}{': ' + status['reason'] if status['reason'] else ''}"

    def _needs_token(self, name: str) -> str:
        answer = self._expect("POST", f"/function/train/{name}", 401, json={"force": False})
        if answer.headers.get("Content-Type") != PROBLEM:
            raise CheckFailed(f"401 with content type {answer.headers.get('Content-Type')}")
        return "401"

    def _gateway_is_closed(self) -> str:
        answer = self._call("GET", "/system/functions")
        if answer.status_code == 200 and not self.url.startswith(LOCAL):
            raise CheckFailed("/system/functions answers without a password: the gateway is open")
        return f"/system/functions: {answer.status_code}"


def pipelines() -> list[str]:
    """The names of the pipeline files."""
    return sorted(path.stem for path in (ROOT / "functions" / "pipelines").glob("*.toml"))


def example_row(card: dict[str, Any]) -> dict[str, Any]:
    """A row with the example values of a model card."""
    return {name: column["examples"][0] for name, column in card["input"]["schema"]["properties"].items()}


def make_picture(width: int = 96, height: int = 96) -> bytes:
    """A PNG with a colour gradient. All rows are shifts of one pattern, so that large pictures are made fast."""
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
    """Run and print the checks, repeating failed ones for `wait_s` seconds; returns the number of failures."""
    until = time.monotonic() + wait_s
    while True:
        checks = Smoke(url, verify, picture, no_model)
        checks.run(functions)
        failed = sum(not ok for _, ok, _ in checks.results)
        if not failed or time.monotonic() >= until:
            break
        time.sleep(1)
    if as_json:
        listed = [{"check": name, "ok": ok, "message": message} for name, ok, message in checks.results]
        print(json.dumps({"url": shown_url(url), "failed": failed, "checks": listed}))
        return failed
    for name, ok, message in checks.results:
        print(f"    {'ok  ' if ok else 'FAIL'} {name}: {message}", flush=True)
    return failed


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/smoke", description=__doc__)
    parser.add_argument("url", metavar="URL", help="of the reverse proxy or the gateway, e.g. https://example.org")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="JPEG to classify (default: a made-up picture)")
    parser.add_argument("--insecure", action="store_true", help="accept a self-signed certificate")
    parser.add_argument("--no-model", action="store_true", help="accept pipelines without a champion")
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="repeat failed checks for this long")
    parser.add_argument("--json", action="store_true", help="one JSON object for programs")
    given = parser.parse_args(argv)
    if not given.url.startswith(("http://", "https://")):
        parser.error(f"{shown_url(given.url)}: must begin with http:// or https://")
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
