"""The part of MLflow's REST API that the functions call, over real HTTP, with the answers of MLflow 3."""

import shutil
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request, send_file

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


class FakeMlflow:
    """Registered versions with their bundles under `root`. `runs`: status of each ended run; `asked`: every call."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.versions: dict[tuple[str, str], dict[str, str]] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self.runs: dict[str, str] = {}
        self.asked: list[str] = []
        self.app = self._make_app()

    def register(self, name: str, version: str, bundle: Path, champion: bool = True) -> Path:
        """Register a copy of the bundle as a version; returns the copy."""
        folder = self.folder(name, version)
        shutil.copytree(bundle, folder)
        self.versions[name, version] = {}
        if champion:
            self.aliases[name, "champion"] = version
        return folder

    def folder(self, name: str, version: str) -> Path:
        return self.root / "1" / "models" / f"m-{name}-{version}" / "artifacts" / "artifacts" / "serving"

    def _version(self, name: str, version: str) -> dict[str, Any]:
        tags = [{"key": key, "value": value} for key, value in self.versions[name, version].items()]
        return {"name": name, "version": version, "status": "READY", "tags": tags}

    def _make_app(self) -> Flask:
        app = Flask("mlflow")

        @app.before_request
        def note() -> None:
            self.asked.append(f"{request.method} {request.path.removeprefix('/api/2.0/')}")

        @app.get(f"{API}/registered-models/alias")
        def get_alias() -> Response:
            name, alias = request.args["name"], request.args["alias"]
            if not any(known == name for known, _ in self.versions):
                return _missing(f"Registered Model with name={name} not found")
            if (name, alias) not in self.aliases:
                return _error(400, "INVALID_PARAMETER_VALUE", f"Registered model alias {alias} not found.")
            return jsonify(model_version=self._version(name, self.aliases[name, alias]))

        @app.post(f"{API}/registered-models/alias")
        def set_alias() -> Response:
            self.aliases[request.json["name"], request.json["alias"]] = request.json["version"]
            return jsonify({})

        @app.get(f"{API}/model-versions/get")
        def version() -> Response:
            key = request.args["name"], request.args["version"]
            if key not in self.versions:
                return _missing(f"Model Version (name={key[0]}, version={key[1]}) not found")
            return jsonify(model_version=self._version(*key))

        @app.get(f"{API}/model-versions/search")
        def search() -> Response:
            name = request.args["filter"].split("'")[1]
            return jsonify(model_versions=[self._version(*key) for key in self.versions if key[0] == name])

        @app.post(f"{API}/model-versions/set-tag")
        def tag() -> Response:
            body = request.json
            self.versions[body["name"], body["version"]][body["key"]] = body["value"]
            return jsonify({})

        @app.post(f"{API}/runs/update")
        def run() -> Response:
            assert request.json["end_time"] > 0
            self.runs[request.json["run_id"]] = request.json["status"]
            return jsonify({})

        @app.get(f"{API}/model-versions/get-download-uri")
        def uri() -> Response:
            name, version = request.args["name"], request.args["version"]
            return jsonify(artifact_uri=f"mlflow-artifacts:/1/models/m-{name}-{version}/artifacts")

        @app.get(FILES)
        def listed() -> Response:
            folder = self.root / request.args["path"]
            files = sorted(folder.iterdir()) if folder.is_dir() else []
            return jsonify(files=[{"path": file.name, "is_dir": False, "file_size": 1} for file in files])

        @app.get(f"{FILES}/<path:path>")
        def file(path: str) -> Response:
            return send_file(self.root / path)

        return app


def _missing(message: str) -> Response:
    return _error(404, "RESOURCE_DOES_NOT_EXIST", message)


def _error(status: int, code: str, message: str) -> Response:
    answer = jsonify(error_code=code, message=message)
    answer.status_code = status
    return answer
