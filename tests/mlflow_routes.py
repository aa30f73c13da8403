"""MLflow's server in one process, run by infra/mlflow/start: `mlflow_routes.py PORT FILE`.

It first writes its routes to FILE: method, an example path, and whether MLflow itself checks a permission for it. To
MLflow's routes it adds two for which nothing is checked, as a later version might.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ADDED = "/ajax-api/9.0/mlflow/added-later"
ADDED_NATIVE = "/ajax-api/9.0/mlflow/added-to-fastapi"


def routes(auth: Any, app: Any) -> Iterator[tuple[str, str, bool]]:
    from fastapi.routing import iter_route_contexts

    for rule in auth.app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        for method in rule.methods:
            checked = auth._find_validator(SimpleNamespace(path=path, method=method))
            if auth._is_proxy_artifact_path(path):
                checked = checked or auth._get_proxy_artifact_validator(method, {})
            yield method, path, checked is not None
    for route in iter_route_contexts(auth._native_fastapi_routes(app)):
        path = re.sub(r"\{[^}]+\}", "x", str(route.path))
        for method in route.methods or ():
            yield method, path, auth._find_fastapi_validator(path, method) is not None


def main(port: int, file: Path) -> None:
    # As `mlflow server` does.
    os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"
    os.environ["_MLFLOW_SERVER_FILE_STORE"] = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = "mlflow-artifacts:/"
    os.environ["MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"] = "true"  # it would answer OPTIONS by itself
    import uvicorn
    from mlflow.server import auth, fastapi_app

    auth.app.add_url_rule(ADDED, "added", view_func=lambda: "added", methods=["GET", "POST"])
    create = fastapi_app.create_fastapi_app

    def with_a_route(flask_app: Any) -> Any:
        made = create(flask_app)
        made.add_api_route(ADDED_NATIVE, lambda: "added", methods=["GET", "POST"])
        made.router.routes.insert(0, made.router.routes.pop())  # before the mount of the Flask app
        return made

    auth.create_fastapi_app = with_a_route
    app = auth.create_app()
    file.write_text(json.dumps(sorted(set(routes(auth, app)))))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
