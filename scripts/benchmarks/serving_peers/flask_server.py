"""Flask behind waitress: `workers` processes share a socket, each with `threads` threads."""
# mypy: disable-error-code="import-not-found"

import os
import socket

from flask import Flask, Response, jsonify, request
from networks import SPEC, answer, by_function
from waitress import serve

listening = socket.create_server(("127.0.0.1", SPEC["port"]))
for _ in range(SPEC["workers"] - 1):
    if os.fork() == 0:
        break
network = by_function()
app = Flask("peer")


@app.post("/predict")
def predict() -> Response:
    return jsonify(answer(network, request.get_data()))


serve(app, sockets=[listening], threads=SPEC["threads"])
