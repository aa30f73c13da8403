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

FUNCTION_NAMES = ("fetch-batch", "train", "classify")
# Seconds for running calls to finish at shutdown; seconds for a connection to ourselves.
DRAIN_S, CONNECT_S = 30, 1.0
# A worker of granian 2.8.9 can miss the signal to stop, so it is repeated; one that is stopping ignores it.
REPEAT_S = 1.0
# Seconds that a function's `before_end` may take.
BEFORE_END_S = {"train": 6.0}
# Longer than the watchdog keeps an idle connection: if we closed it first, a call sent at that moment would be lost.
IDLE_S = 120
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8


def main() -> int:
    name = os.environ.get("FUNCTION", "")
    if name not in FUNCTION_NAMES:
        print(f"FUNCTION must be one of {', '.join(FUNCTION_NAMES)}, not {name!r}", file=sys.stderr)
        return 2
    from common.admission import CONNECTIONS
    from common.errors import WrongSettings
    from common.logging import log_settings, set_up_log

    set_up_log(name)
    limit_allocator()
    try:
        package = name.replace("-", "_")
        settings = importlib.import_module(f"{package}.settings").read_settings(os.environ)
        # Temporary files (such as uploaded pictures) go into the only folder that is writable.
        settings.scratch.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(settings.scratch)
        metrics = settings.scratch / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)  # of an earlier run
        metrics.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        # Imported before the fork, so that the workers share the memory of the modules.
        function = importlib.import_module(f"{package}.app")
        function.check(settings)
    except WrongSettings as error:
        print(error.detail, file=sys.stderr)
        return 2
    host, port = settings.host, settings.port
    try:
        shutdown = Shutdown((host, port), settings.linger_s, BEFORE_END_S.get(name, 0.0))
        if shutdown.answers():  # workers share their port, and would share it with another server too
            raise ValueError("another server is already listening")
        server = Server(
            f"{function.__name__}:create_app",
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            http=HTTPModes.http1,
            workers=settings.worker_count,
            blocking_threads=CONNECTIONS,
            backpressure=CONNECTIONS,
            respawn_failed_workers=True,
            workers_kill_timeout=DRAIN_S,
            http1_settings=HTTP1Settings(header_read_timeout=1000 * (IDLE_S + 1)),
            log_dictconfig=log_settings(name),
            log_level=LogLevels.error,
            websockets=False,
        )
        server.on_startup(partial(shutdown.listen, server))
        gc.collect()
        gc.freeze()  # the collector writes to the objects it visits, and workers would no longer share their pages
        server.serve(target_loader=partial(application, function, settings, shutdown), wrap_loader=False)
    except (OverflowError, RuntimeError, ValueError) as error:
        print(f"HOST, PORT: no server can listen at {host} (an address, not a name), {port}: {error}", file=sys.stderr)
        return 1
    return 0


def limit_allocator() -> None:
    """Make glibc return freed memory: it would keep up to 32 MB for each thread that once needed it."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 4 << 20)
        libc.mallopt(M_ARENA_MAX, 1)  # not about 1 MB for each thread: Python's lock serialises allocations anyway


def application(function: Any, settings: Any, shutdown: Shutdown) -> Any:
    """Create the function's app in a worker that stops with the main process, even if that is killed."""
    main_process = multiprocessing.parent_process()
    if main_process is not None:
        threading.Thread(target=exit_with, args=(main_process,), name="main-process", daemon=True).start()
    app = function.create_app(settings)
    if "before_end" in app.extensions:
        shutdown.register_before_end(app.extensions["before_end"])
    return app


def exit_with(main_process: Any) -> None:
    main_process.join()
    os._exit(1)


class Shutdown:
    """On SIGTERM: run `before_end`, keep answering for `linger_s`, then stop accepting and finish the running calls.

    The watchdog forwards SIGTERM at once, but sends calls for another healthcheck_interval. faasd removes the network
    first, loopback included: no answer can reach a caller then, and the process stops at once.

    Workers learn of the shutdown when the main process closes its end of a pipe. Setting a multiprocessing.Event
    would block on a worker that died while waiting for it.
    """

    def __init__(self, address: tuple[str, int], linger_s: float, before_end_s: float) -> None:
        self.address, self.linger_s, self.before_end_s = address, linger_s, before_end_s
        self._begun = False
        self._begin_reader, self._begin = multiprocessing.Pipe(duplex=False)
        self._done_reader, self._done = multiprocessing.Pipe(duplex=False)

    def listen(self, server: Any) -> None:
        """Replace the server's signal handlers; its own stops it at once."""
        main_process = os.getpid()

        def handle(*_: object) -> None:
            if os.getpid() != main_process:  # a worker that has not started yet
                os._exit(0)
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._end, args=(server,), name="shutdown", daemon=True).start()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, handle)

    def register_before_end(self, before_end: Any) -> None:
        """In a worker: call `before_end` when the shutdown begins; the main process waits for it."""
        self._begin.close()  # only the main process holds it open

        def run() -> None:
            self._begin_reader.poll(None)
            try:
                before_end()
            finally:
                self._done.send_bytes(b".")

        threading.Thread(target=run, name="shutdown", daemon=True).start()

    def _end(self, server: Any) -> None:
        if not self.answers():
            for worker in multiprocessing.active_children():
                worker.kill()
            os._exit(1)  # the watchdog then stops too, instead of waiting for calls that cannot be answered
        self._begin.close()
        self._done_reader.poll(self.before_end_s)
        time.sleep(self.linger_s)
        workers = multiprocessing.active_children()
        server.signal_handler_interrupt()
        while True:  # in a daemon thread, until this process ends
            time.sleep(REPEAT_S)
            for worker in workers:
                worker.terminate()

    def answers(self) -> bool:
        """Whether a server accepts connections at the address. Without loopback the attempt times out."""
        try:
            socket.create_connection(self.address, CONNECT_S).close()
        except OSError:
            return False
        return True


if __name__ == "__main__":
    sys.exit(main())
