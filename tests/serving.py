"""A classify app with a registry over real HTTP; the test decides when it polls for a new champion."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from flask.testing import FlaskClient

from all_settings import AllSettings as Settings
from classify.app import create_app
from classify.champions import Champions
from common.inference.bundle import CONTRACT, GOLDEN, signature
from common.pipeline_files import read_pipeline_heads
from conftest import KEY, Served, wait_until
from fake_mlflow import FakeMlflow
from shapes import validate

ROW = {"petal": 11.5, "turn": 90, "colour": "red", "place": "sun"}


@dataclass
class Serving:
    """One replica of classify."""

    settings: Settings
    app: Flask
    champions: Champions
    mlflow: FakeMlflow | None = None
    served: Served | None = None

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def poll(self) -> None:
        """Poll for new champions now."""
        self.champions.refresh()

    def predict(self, row: Any = ROW) -> tuple[str, str]:
        """Label and version of the answer to one row."""
        answer = self.client.post("/flowers", json=row)
        assert answer.status_code == 200, answer.text
        return answer.json["predictions"][0]["label"], answer.json["model"]["version"]

    def scratch_files(self) -> list[str]:
        """Every file in the scratch folder."""
        root = self.settings.scratch
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def start(settings: Settings, mlflow: FakeMlflow | None = None, served: Served | None = None) -> Serving:
    """A replica that has polled once; it polls again when the test calls `poll`."""
    champions = Champions(settings, read_pipeline_heads(settings.pipelines))
    serving = Serving(settings, create_app(settings, champions), champions, mlflow, served)
    champions.stop()
    wait_until(lambda: champions.not_ready() is None)
    return serving


def signed_again(bundle: Path, target: Path, key: str = KEY, golden: Any = None, **changes: Any) -> Path:
    """A copy of a bundle with changes in its contract, or other golden answers, signed with the key."""
    shutil.copytree(bundle, target)
    if golden is not None:
        with np.load(target / GOLDEN) as arrays:
            np.savez(target / GOLDEN, **{**arrays, "probabilities": golden(arrays["probabilities"])})
    contract = {**json.loads((target / CONTRACT).read_text()), **changes}
    contract["files"] = {name: hashlib.sha256((target / name).read_bytes()).hexdigest() for name in contract["files"]}
    contract["hmac"] = signature(contract, key)
    (target / CONTRACT).write_text(json.dumps(contract), encoding="utf-8")
    return target


def validate_problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    """Check that the answer is a problem document of that status and kind; its body."""
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.text
    validate(answer.json, "problem")
    assert (answer.json["status"], answer.json["type"]) == (status, f"urn:sabueso:problem:{kind}")
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert answer.json["detail"]
    assert "Traceback" not in answer.text
    return answer.json
