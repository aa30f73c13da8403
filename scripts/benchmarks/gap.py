"""How long nobody is answered while a function is deployed again: a call every 50 ms, each for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import requests

from deployment.smoke import TIMEOUT_S

EVERY_S = 0.05
Call = tuple[float, str, float]  # when it began, its status or what went wrong, seconds that it took


def watch(url: str, seconds: float, verify: bool) -> list[Call]:
    """GET the URL every 50 ms, whether the calls before were answered or not."""
    found: list[Call] = []
    threads, began = [], time.perf_counter()

    def call(at: float) -> None:
        try:
            with requests.Session() as session:
                session.trust_env = False
                told = str(session.get(url, timeout=TIMEOUT_S, verify=verify, allow_redirects=False).status_code)
        except requests.RequestException as error:
            told = type(error).__name__
        found.append((at, told, time.perf_counter() - began - at))

    while (at := time.perf_counter() - began) < seconds:
        threads.append(threading.Thread(target=call, args=(at,), daemon=True))
        threads[-1].start()
        time.sleep(max(0.0, EVERY_S - (time.perf_counter() - began - at)))
    for thread in threads:
        thread.join()
    return sorted(found)


def runs(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """Calls that followed each other and were answered alike, as one."""
    found = []
    for told, group in groupby(calls, key=lambda call: call[1]):
        alike = list(group)
        times = {"from_s": alike[0][0], "to_s": alike[-1][0], "slowest_s": max(took for _, _, took in alike)}
        found.append({"answer": told, "calls": len(alike), **{name: round(one, 2) for name, one in times.items()}})
    return found


def longest_silence(calls: list[Call]) -> float:
    """Seconds from the first call that got no 2xx to the next one that did, or to the end; the longest such time."""
    longest, since = 0.0, None
    for at, told, _ in calls:
        longest = longest if since is None else max(longest, at - since)
        if told.startswith("2"):
            since = None
        elif since is None:
            since = at
    return round(longest, 2)
