"""The process of a function: FUNCTION=classify -> that function's Flask app behind granian."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from functools import partial
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

FUNCTIONS = ("fetch-batch", "train", "classify")
# Calls that are answered when the end comes have so long.
DRAIN_S, REACHED_S = 30, 1.0
# A worker of granian 2.8.9 can miss the signal to end; the next one ends it. To one that is ending it means nothing.
AGAIN_S = 1.0
# So long is waited for what a function does first when it ends (its app's `before_end`).
FIRST_S = {"train": 6.0}
# Longer than the watchdog in front keeps an idle connection: if we closed it first, the call that comes then were lost.
IDLE_S = 120
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8


def main() -> int:
    name = os.environ.get("FUNCTION", "")
    if name not in FUNCTIONS:
        print(f"FUNCTION must be one of {', '.join(FUNCTIONS)}, not {name!r}", file=sys.stderr)
        return 2
    from common.admission import CONNECTIONS
    from common.errors import WrongSettings
    from common.log import log_settings, set_up_log
    from common.objects import open_objects
    from common.pipelines import read_pipelines
    from common.settings import read_settings

    set_up_log(name)
    give_memory_back()
    try:
        settings = read_settings(os.environ)
        # Temporary files, of the pictures of a form too, belong in the one folder that may be written to.
        settings.scratch.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(settings.scratch)
        metrics = settings.scratch / "metrics"
        for leftover in (metrics, settings.scratch / "downloads"):
            shutil.rmtree(leftover, ignore_errors=True)
        metrics.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        # Here, so that the workers share what is imported.
        function = importlib.import_module(f"{name.replace('-', '_')}.app")
        read_pipelines(settings.pipelines)
        if name != "classify":
            open_objects(settings)
    except WrongSettings as error:
        print(error.detail, file=sys.stderr)
        return 2
    host, port = os.environ.get("HOST", "0.0.0.0"), os.environ.get("PORT", "8080")
    try:
        end = Ending((host, int(port)), settings.linger_s, FIRST_S.get(name, 0.0))
        if end.answers():  # workers share their port, and would with another server too
            raise ValueError("something answers there already")
        server = Server(
            f"{function.__name__}:create_app",
            address=host,
            port=int(port),
            interface=Interfaces.WSGI,
            http=HTTPModes.http1,
            workers=settings.workers if name == "classify" else 1,
            blocking_threads=CONNECTIONS,
            backpressure=CONNECTIONS,
            respawn_failed_workers=True,
            workers_kill_timeout=DRAIN_S,
            http1_settings=HTTP1Settings(header_read_timeout=1000 * (IDLE_S + 1)),
            log_dictconfig=log_settings(name),
            log_level=LogLevels.error,
            websockets=False,
        )
        server.on_startup(partial(end.listen, server))
        gc.collect()
        gc.freeze()  # the collector writes to what it looks at, and workers would no longer share it
        server.serve(target_loader=partial(application, function, settings, end), wrap_loader=False)
    except (OverflowError, RuntimeError, ValueError) as error:
        print(f"HOST, PORT: no server can listen at {host} (an address, not a name), {port}: {error}", file=sys.stderr)
        return 1
    return 0


def give_memory_back() -> None:
    """glibc would keep what each thread once needed, up to 32 MB, of bodies and pictures that are gone."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 4 << 20)
        libc.mallopt(M_ARENA_MAX, 1)  # not some 1 MB for each thread: Python's lock lets one at a time ask for memory


def application(function: Any, settings: Any, end: Ending) -> Any:
    """Make the function's app in a worker, and tie it to the first process: its end, and its death."""
    first = multiprocessing.parent_process()
    if first is not None:
        threading.Thread(target=end_with, args=(first,), name="first", daemon=True).start()
    app = function.create_app(settings)
    if "before_end" in app.extensions:
        end.call_first(app.extensions["before_end"])
    return app


def end_with(first: Any) -> None:
    first.join()
    os._exit(1)


class Ending:
    """On SIGTERM: run `before_end`, go on for `linger_s`, then take no connection and send the last answers.

    A watchdog in front passes SIGTERM on as soon as it gets one, but sends calls for its healthcheck_interval more.
    faasd takes the network away first, loopback too; no answer can reach anybody then, and the process ends at once.

    Workers learn of the end when the first process closes its end of a pipe. multiprocessing.Event would do for that,
    but setting one waits for a worker that died while it waited.
    """

    def __init__(self, address: tuple[str, int], linger_s: float, first_s: float) -> None:
        self.address, self.linger_s, self.first_s = address, linger_s, first_s
        self._begun = False
        self._begin_reader, self._begin = multiprocessing.Pipe(duplex=False)
        self._done_reader, self._done = multiprocessing.Pipe(duplex=False)

    def listen(self, server: Any) -> None:
        """Take the signals over from the server, which ends when its own handler is called."""
        main = os.getpid()

        def handle(*_: object) -> None:
            if os.getpid() != main:  # a worker that has not begun yet
                os._exit(0)
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._end, args=(server,), name="ending", daemon=True).start()

        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, handle)

    def call_first(self, before_end: Any) -> None:
        """In a worker: call `before_end` once the end begins; the first process waits for it."""
        self._begin.close()  # only the first process holds it open

        def run() -> None:
            self._begin_reader.poll(None)
            try:
                before_end()
            finally:
                self._done.send_bytes(b".")

        threading.Thread(target=run, name="ending", daemon=True).start()

    def _end(self, server: Any) -> None:
        if not self.answers():
            for worker in multiprocessing.active_children():
                worker.kill()
            os._exit(1)  # the watchdog then ends too, and does not wait for calls that nobody can answer
        self._begin.close()
        self._done_reader.poll(self.first_s)
        time.sleep(self.linger_s)
        workers = multiprocessing.active_children()
        server.signal_handler_interrupt()
        while True:  # in a daemon thread: until this process has ended
            time.sleep(AGAIN_S)
            for worker in workers:
                worker.terminate()

    def answers(self) -> bool:
        """True if a server takes connections at the address. Without loopback nothing answers, not even a refusal."""
        try:
            socket.create_connection(self.address, REACHED_S).close()
        except OSError:
            return False
        return True


if __name__ == "__main__":
    sys.exit(main())
