"""The data API of a `batch-api` source on this machine: `python -m local.data_api --port 8010`."""

import argparse
import itertools
import json
import logging
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import flask
import waitress  # type: ignore[import-untyped]
from werkzeug.exceptions import HTTPException

from .made_up_rows import made_up_rows, read_rows

Mode = Literal["per-group", "per-batch"]
Row = list[str]

GROUPS = 10
LAST_WINDOW = 10
BROKEN_GROUP = 10  # in the real service it always fails
COMPLETE = "Ya se recolectó toda la información minima necesaria"
FAULT_KINDS = ("500", "cut", "row", "hang")
THREADS = 64  # a hanging answer blocks one; idle threads are cheap


@dataclass(frozen=True)
class Faults:
    """Faults on purpose: a share `rate` of the answers gets one of `kinds`."""

    kinds: tuple[str, ...]
    rate: float = 0.3
    hang_s: float = 60

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kinds) - set(FAULT_KINDS))
        if unknown or not self.kinds:
            raise ValueError(
                f"unknown faults: {', '.join(unknown) or 'none given'}; choose from {', '.join(FAULT_KINDS)}"
            )
        if not 0 <= self.rate <= 1:
            raise ValueError(f"the rate of faults must be between 0 and 1, not {self.rate}")


@dataclass
class Window:
    """The current window of a group."""

    number: int
    began: float
    is_last_answered: bool = False


class Collection:
    """The windows and slices of all groups; thread-safe."""

    def __init__(
        self,
        rows: list[Row],
        window_s: float,
        mode: Mode,
        faults: Faults | None,
        seed: int,
        clock: Callable[[], float],
    ) -> None:
        if len(rows) < GROUPS * 10:
            raise ValueError(f"{len(rows)} rows are too few: at least {GROUPS * 10} are needed")
        if mode not in ("per-group", "per-batch"):
            raise ValueError(f"the mode must be per-group or per-batch, not {mode}")
        self.window_s, self.mode, self.faults, self.clock = window_s, mode, faults, clock
        self.random = random.Random(seed)  # noqa: S311 (which rows)
        shuffled = self.random.sample(rows, len(rows))
        cuts = [len(rows) * part // GROUPS for part in range(GROUPS + 1)]
        self.slices = [shuffled[start:end] for start, end in itertools.pairwise(cuts)]
        self.windows: dict[int, Window] = {}
        self.lock = threading.Lock()

    def answer(self, group: int) -> tuple[int, list[Row], str | None] | None:
        """The window's number, the rows of one answer and the fault to make; None once everything is collected."""
        with self.lock:
            window = self._window(group)
            if window.is_last_answered:
                return None
            window.is_last_answered = window.number == LAST_WINDOW
            place = group - 1 + (window.number - 1 if self.mode == "per-batch" else 0)
            part = self.slices[place % GROUPS]
            rows = self.random.sample(part, len(part) // 10)
            fault = self._fault()
            return window.number, self._spoil(rows) if fault == "row" else rows, fault

    def restart(self, group: int) -> None:
        with self.lock:
            self.windows.pop(group, None)

    def _window(self, group: int) -> Window:
        """The current window. It advances by at most one per request, whatever the time since the last."""
        now = self.clock()
        window = self.windows.setdefault(group, Window(1, now))
        if window.number < LAST_WINDOW and now - window.began >= self.window_s:
            window = self.windows[group] = Window(window.number + 1, now)
        return window

    def _fault(self) -> str | None:
        if self.faults is None or self.random.random() >= self.faults.rate:
            return None
        return self.random.choice(self.faults.kinds)

    def _spoil(self, rows: list[Row]) -> list[Row]:
        """The same rows, with one to three of them made invalid."""
        rows = list(rows)
        for place in self.random.sample(range(len(rows)), min(len(rows), self.random.randint(1, 3))):
            row = rows[place]
            wrong_rows = [row[:-3], ["much", *row[1:]], [*row[:-1], "99"], ["99999", *row[1:]]]
            rows[place] = self.random.choice(wrong_rows)
        return rows


def create_data_api(
    rows: list[Row],
    *,
    window_s: float,
    mode: Mode = "per-group",
    made_up: bool,
    faults: Faults | None = None,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> flask.Flask:
    """The app, which serves the rows window by window, as the real service does."""
    app = flask.Flask(__name__)
    collection = Collection(rows, window_s, mode, faults, seed, clock)

    @app.get("/")
    def about() -> flask.Response:
        return _json(
            {
                "about": "data API of a batch-api source, for experiments: GET /data?group_number=1",
                "made_up": made_up,
                "mode": mode,
                "window_s": window_s,
                "rows": len(rows),
                "faults": list(faults.kinds) if faults else [],
            }
        )

    @app.get("/data")
    def data() -> flask.Response:
        group = _group_number()
        answer = collection.answer(group)
        if answer is None:
            return _json({"detail": COMPLETE}, 400)
        number, chosen, fault = answer
        if faults and fault == "hang":
            time.sleep(faults.hang_s)
        if fault == "500" or group == BROKEN_GROUP:
            return _json({"detail": "Internal Server Error"}, 500)
        response = _json({"group_number": group, "batch_number": number, "data": chosen})
        return _cut(response) if fault == "cut" else response

    @app.get("/restart_data_generation")
    def restart_data_generation() -> flask.Response:
        collection.restart(_group_number())
        return _json({"ok": True})

    @app.after_request
    def mark(response: flask.Response) -> flask.Response:
        if made_up and flask.request.path == "/data":
            response.headers["X-Sabueso-Data"] = "made-up"
        return response

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> flask.Response:
        return _json({"detail": error.name}, error.code or 500)

    return app


def _json(body: object, status: int = 200) -> flask.Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return flask.Response(text, status, mimetype="application/json")


def _group_number() -> int:
    """The requested group; aborts with 400 or 422 if it is invalid."""
    text = flask.request.args.get("group_number", "")
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        flask.abort(_json({"detail": "group_number must be an integer"}, 422))
    if not 1 <= int(text) <= GROUPS:
        flask.abort(_json({"detail": f"Número de grupo inválido: de 1 a {GROUPS}"}, 400))
    return int(text)


def _cut(response: flask.Response) -> flask.Response:
    """Half of the body with the full Content-Length; the server then closes the connection."""
    body = response.get_data()

    def half() -> Iterator[bytes]:
        yield body[: len(body) // 2]

    headers = {"Content-Length": str(len(body))}
    return flask.Response(half(), response.status_code, headers, mimetype="application/json")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="local.data_api", description="A local data API.")
    parser.add_argument("--port", type=int, required=True, help="0: a free port, printed on the first line")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--csv", help="CSV or CSV.gz with the covertype columns (default: made-up rows)")
    parser.add_argument("--rows", type=int, default=60_000, help="number of made-up rows")
    parser.add_argument("--mode", choices=["per-group", "per-batch"], default="per-group")
    parser.add_argument("--window", type=float, default=300, help="seconds per window")
    parser.add_argument("--faults", default="", help=f"faults to make: {','.join(FAULT_KINDS)}")
    parser.add_argument("--fault-rate", type=float, default=Faults.rate, help="share of answers with a fault")
    parser.add_argument("--hang", type=float, default=Faults.hang_s, help="seconds of a hanging answer")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    kinds = tuple(options.faults.split(",")) if options.faults else ()
    try:
        app = create_data_api(
            read_rows(options.csv) if options.csv else made_up_rows(options.rows, options.seed),
            window_s=options.window,
            mode=options.mode,
            made_up=not options.csv,
            faults=Faults(kinds, options.fault_rate, options.hang) if kinds else None,
            seed=options.seed,
        )
        server = waitress.create_server(app, host=options.host, port=options.port, threads=THREADS)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    logging.getLogger("waitress").setLevel(logging.ERROR)  # it would warn about each cut answer
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: os._exit(0))  # at once: don't wait for stalled responses
    port = getattr(server, "effective_port", options.port)  # missing if the host has several addresses
    print(f"data API on http://{options.host}:{port}", flush=True)
    server.run()


if __name__ == "__main__":
    main()
