"""Signs MLflow's accounts in; those named in MLFLOW_READERS may only ask.

`default_permission = READ` alone would leave every account the right to make experiments and models of its own, and so
to write artifacts and to take a model's name before train does. MLflow finds `sign_in` by the file that start writes.
"""

from __future__ import annotations

import os

from flask import Response, request
from mlflow.server.auth import authenticate_request_basic_auth
from werkzeug.datastructures import Authorization


def sign_in() -> Authorization | Response:
    """Who asks; 401 without a good account and 403 where a reader would change something."""
    who = authenticate_request_basic_auth()
    readers = os.environ.get("MLFLOW_READERS", "classify").split(",")
    if isinstance(who, Authorization) and who.username in readers and request.method not in ("GET", "HEAD"):
        return Response(f"The account {who.username} may only read.\n", 403, mimetype="text/plain")
    return who
