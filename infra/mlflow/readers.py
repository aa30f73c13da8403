"""Signs MLflow's accounts in; those named in MLFLOW_READERS may only ask.

`default_permission = READ` alone would leave every account the right to make experiments and models of its own, and so
to write artifacts and to take a model's name before train does. MLflow finds `sign_in` by the file that start writes.
"""

from __future__ import annotations

import os

from flask import Response, request
from mlflow.server.auth import authenticate_request_basic_auth, store
from werkzeug.datastructures import Authorization


def sign_in() -> Authorization | Response:
    """Who asks; 401 without a good account and 403 where a reader would change something."""
    who = authenticate_request_basic_auth()
    if not isinstance(who, Authorization) or request.method in ("GET", "HEAD"):
        return who
    # MySQL takes `CLASSIFY` and `clássify` for the account `classify`: what counts is the name that is stored.
    name = store.get_user(who.username).username
    if name in os.environ.get("MLFLOW_READERS", "classify").split(","):
        return Response(f"The account {name} may only read.\n", 403, mimetype="text/plain")
    return who
