"""Flask behind waitress; options `workers` (processes that share the socket), `threads` of each."""
# mypy: disable-error-code="import-not-found"

import os
import socket
import sys

from flask import Flask, jsonify, request
from networks import OPTIONS, PORT, answer, network, picture, row
from waitress import serve

listening = socket.socket()
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listening.bind(("127.0.0.1", PORT))
for _ in range(OPTIONS.get("workers", 1) - 1):
    if os.fork() == 0:
        break
predict = network()
app = Flask("peer")


@app.post("/picture")
def a_picture():  # type: ignore[no-untyped-def]
    return jsonify(answer(predict(picture(request.get_data()))))


@app.post("/row")
def a_row():  # type: ignore[no-untyped-def]
    return jsonify(answer(predict(row(request.get_json()))))


serve(app, sockets=[listening], **({"threads": OPTIONS["threads"]} if "threads" in OPTIONS else {}))
sys.exit(0)
