"""The process of a function: FUNCTION=classify -> that function's application behind uvicorn."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.listening import Listening

FUNCTIONS = ("fetch-batch", "train", "classify")
ENDS = (signal.SIGTERM, signal.SIGINT)
DRAIN_S = 30.0
# Longer than the watchdog in front keeps an idle connection: if we closed it first, the call that comes then were lost.
IDLE_S = 120


def main() -> int:
    name = os.environ.get("FUNCTION", "")
    if name not in FUNCTIONS:
        print(f"FUNCTION must be one of {', '.join(FUNCTIONS)}, not {name!r}", file=sys.stderr)
        return 2
    from common.errors import WrongSettings
    from common.listening import listen
    from common.settings import read_settings

    # Meanwhile the champions are loaded: what a network computes lets other threads go on.
    importing = threading.Thread(target=importlib.import_module, args=("uvicorn.server",), daemon=True)
    importing.start()
    try:
        settings = read_settings(os.environ)
        # Large bodies are kept in temporary files: in the one folder that may be written to.
        settings.scratch.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(settings.scratch)
        application = create(name, settings)
    except WrongSettings as error:
        print(error.detail, file=sys.stderr)
        return 2
    try:
        listening = listen(
            os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080")), application.processes
        )
    except (OSError, ValueError, OverflowError) as error:
        print(f"HOST, PORT: no server can listen there: {error}", file=sys.stderr)
        return 1
    importing.join()
    return serve(application, listening, settings.linger_s)


def create(name: str, settings: Any) -> Any:
    """The function's ASGI application. Raises WrongSettings."""
    if name == "classify":
        return importlib.import_module("classify.quick").create(settings)
    from common.web import application_of

    return application_of(importlib.import_module(f"{name.replace('-', '_')}.app").create_app(settings), settings)


def serve(application: Any, listening: Listening, linger_s: float) -> int:
    """Answer until SIGTERM, in as many processes as the application wants; returns when all have their answers.

    No other thread may run yet.
    """
    from uvicorn.server import Server

    from common.forks import Forks, fork
    from common.listening import BACKLOG, reachable

    forks = Forks()

    class Ending(Server):
        """On SIGTERM: `before_end`, then `linger_s` as ever, then no new connection, and the end with the last answer.

        A watchdog in front sends SIGTERM on as soon as it gets one, but passes calls for its healthcheck_interval more.
        Where the network was taken away first, loopback too (faasd does so), no answer can reach anybody: then at once.
        """

        begun = False

        async def on_tick(self, counter: int) -> bool:
            application.tick()
            return await super().on_tick(counter)

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            listening.listen(BACKLOG)

        def handle_exit(self, sig: int, frame: Any) -> None:
            if not self.begun:
                self.begun = True
                threading.Thread(target=self._end, name="ending", daemon=True).start()

        def _end(self) -> None:
            forks.end()
            if not reachable(listening):
                os._exit(1)  # the watchdog then ends too, and does not wait for calls that nobody can answer
            if application.before_end is not None:
                try:
                    application.before_end()
                except Exception:  # the end comes all the same
                    traceback.print_exc()
            time.sleep(linger_s)
            self.should_exit = True

    config = configured(application)
    # asyncio takes as many connections at once as may wait; the other processes would be left without.
    config.backlog = 1
    server = Ending(config)
    for one in ENDS:  # as uvicorn does later: one of them may answer before that
        signal.signal(one, server.handle_exit)
    # A signal that comes in the middle is held back: the first process passes it on only to those that it knows.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    forks = fork(application.processes)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
    forks.watch(application.tally.function)
    listening.place = forks.place
    application.begin(forks.place)
    server.run([listening])
    forks.wait(DRAIN_S)
    if forks.failed:
        sys.stderr.flush()
        os._exit(1)  # whatever a thread still waits for, so that all are started anew
    return 0 if server.started else 1


def configured(application: Any) -> Any:
    """How uvicorn serves it: no access log (the application has its own), no WebSocket, no start-up of its own."""
    from uvicorn.config import Config

    return Config(
        application,
        http="httptools",
        loop="asyncio",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=int(DRAIN_S),
    )


if __name__ == "__main__":
    sys.exit(main())
