"""The process of a function: FUNCTION=classify -> that function's Flask app behind waitress."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from typing import Any

FUNCTIONS = {"fetch-batch": "fetch_batch", "train": "train", "classify": "classify"}
DRAIN_S, REACHED_S = 30.0, 1.0


def main() -> int:
    name = os.environ.get("FUNCTION", "")
    if name not in FUNCTIONS:
        print(f"FUNCTION must be one of {', '.join(FUNCTIONS)}, not {name!r}", file=sys.stderr)
        return 2
    from common.errors import WrongSettings
    from common.settings import read_settings

    try:
        settings = read_settings(os.environ)
        # Large bodies are kept in temporary files: in the one folder that may be written to.
        settings.scratch.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(settings.scratch)
        app = importlib.import_module(f"{FUNCTIONS[name]}.app").create_app(settings)
        port = int(os.environ.get("PORT", "8080"))
    except WrongSettings as error:
        print(error.detail, file=sys.stderr)
        return 2
    from waitress import create_server

    server = create_server(
        app,
        host=os.environ.get("HOST", "0.0.0.0"),
        port=port,
        threads=settings.threads,
        # Above the app's own limit, so that a body that is too large gets the problem document.
        max_request_body_size=int(settings.max_body_mb * 4_000_000),
        ident=None,
    )
    Ending(server, app.extensions.get("before_end"), settings.linger_s).on_signal()
    server.run()
    return 0


class Ending:
    """On SIGTERM: `before`, then `linger_s` as ever, then no new connection, and the end once all have their answers.

    A watchdog in front sends SIGTERM on as soon as it gets one, but passes calls for its healthcheck_interval more.
    Where the network was taken away first, loopback too (faasd does so), no answer can reach anybody: then at once.
    """

    def __init__(self, server: Any, before: Any, linger_s: float) -> None:
        self.server, self.before, self.linger_s = server, before, linger_s
        self._begun = self._answered = False

    def on_signal(self) -> None:
        signal.signal(signal.SIGTERM, self._signalled)

    def _signalled(self, number: int, frame: Any) -> None:
        if self._answered:
            raise SystemExit(0)  # out of the server's loop
        if not self._begun:
            self._begun = True
            threading.Thread(target=self._end, name="ending", daemon=True).start()

    def _end(self) -> None:
        if not self._reachable():
            os._exit(1)  # the watchdog then ends too, and does not wait for calls that nobody can answer
        if self.before is not None:
            try:
                self.before()
            except Exception:  # the end comes all the same
                traceback.print_exc()
        time.sleep(self.linger_s)
        self.server.trigger.pull_trigger(self._close)
        until = time.monotonic() + DRAIN_S
        while self._busy() and time.monotonic() < until:
            time.sleep(0.02)
        self._answered = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _reachable(self) -> bool:
        try:
            with socket.create_connection((self.server.effective_host, self.server.effective_port), REACHED_S):
                return True
        except OSError:
            return False

    def _close(self) -> None:
        """Close the listening socket, in the server's own loop; open connections stay."""
        from waitress.wasyncore import dispatcher

        dispatcher.close(self.server)

    def _busy(self) -> bool:
        with contextlib.suppress(RuntimeError):  # the loop has just changed it
            channels = list(self.server.active_channels.values())
            return any(one.request is not None or one.requests or one.total_outbufs_len for one in channels)
        return True


if __name__ == "__main__":
    sys.exit(main())
