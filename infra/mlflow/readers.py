"""Authenticates MLflow's accounts; those in MLFLOW_READERS are read-only.

With `default_permission = READ` alone, every account may create experiments and models: it could write artifacts, or
claim a model's name before train does. MLflow finds `sign_in` through the file that `start` writes.
"""

from __future__ import annotations

import os

from flask import Response, request
from mlflow.server.auth import authenticate_request_basic_auth, store
from werkzeug.datastructures import Authorization


def sign_in() -> Authorization | Response:
    """The account; 401 for wrong credentials, 403 if a reader tries to change something."""
    account = authenticate_request_basic_auth()
    if not isinstance(account, Authorization) or request.method in ("GET", "HEAD"):
        return account
    # MySQL finds the account `classify` also as `CLASSIFY` and `clássify`, so compare the stored name.
    name = store.get_user(account.username).username
    if name in os.environ.get("MLFLOW_READERS", "classify").split(","):
        return Response(f"The account {name} is read-only.\n", 403, mimetype="text/plain")
    return account
