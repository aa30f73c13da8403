"""An ASGI application on a free port of this machine, behind uvicorn as functions/server.py starts it."""

import threading
import time
from typing import Any

from uvicorn.server import Server

from common.listening import listen
from ports import free_port
from server import configured


class ServedAsgi:
    """In a thread of its own; `url` is where it answers."""

    def __init__(self, application: Any) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        application.begin()
        self._server = Server(configured(application))
        listening = listen("127.0.0.1", port)
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < until and self._thread.is_alive(), "it did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
