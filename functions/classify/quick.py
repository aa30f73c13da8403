"""What serves: predictions are made without Flask, which is loaded when the first other call comes.

An image that starts has its first answer before Flask would be there.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from classify.answers import Answers, Call
from classify.champions import Champions
from classify.looks import Looks
from common.asgi import Application, Job
from common.forks import SharedLock
from common.pictures import BRIEF_FILE, share_large
from common.pipelines import read_pipelines
from common.settings import Settings
from common.tally import Tally

if TYPE_CHECKING:
    from flask import Flask

# Of all calls, Flask's too: processes that count into one memory must agree on their places there.
ENDPOINTS = ("classify", "index", "card", "healthz", "readyz", "metrics", "described", "none")
# Seconds that a thread keeps Python's lock while others want it: those that run the network need it for a moment only.
SWITCH_S = 0.0002
# Bodies of rows that take less time than handing them to another thread would.
LIGHT = 2048
# The same of rows that are to be explained: each is answered once more for each of its columns.
LIGHT_EXPLAINED = 512


def create(settings: Settings) -> Application:
    """The application, its champions loaded as far as they were kept. Raises WrongSettings."""
    sys.setswitchinterval(SWITCH_S)
    pipelines = read_pipelines(settings.pipelines)
    processes = settings.processes
    champions = Champions(settings, pipelines, looks=Looks(processes, len(pipelines)))
    # Where each process has one thread, a small picture is answered sooner without the way there and back.
    alone = settings.threads <= processes
    answers, tally = Answers(pipelines, champions, settings.threads), Tally("classify", processes, ENDPOINTS)

    def quick(method: str, path: str, query: str, headers: dict[bytes, bytes]) -> Job | None:
        name = path[1:]
        mimetype = headers.get(b"content-type", b"").decode("latin1").partition(";")[0].strip().lower()
        if method != "POST" or name not in pipelines or mimetype == "multipart/form-data":
            return None
        accept = headers.get(b"accept", b"").decode("latin1")
        rows = pipelines[name].kind == "tabular"
        light = (LIGHT_EXPLAINED if query else LIGHT) if rows else BRIEF_FILE if alone and not query else -1
        return Job("classify", lambda body: answers.reply(Call(name, query, mimetype, accept, body)), light, rows)

    def flask() -> Flask:
        from classify.app import make_flask

        return make_flask(settings, champions, answers, tally)

    share_large(SharedLock())
    champions.load_kept()
    return Application(settings, flask, tally, champions.missing, quick, processes=processes, begin=champions.begin)
