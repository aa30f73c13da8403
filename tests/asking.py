"""A source for a whole system, and calls that tests make to it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import mlflow
import pytest
import requests
from flask import Flask, Response

from deployed import Deployed
from deployment.smoke import example_row
from local.data_api import create_data_api
from local.made_up_rows import made_up_rows
from train.registry import ModelVersion, VersionRegistry

WINDOW_S = 0.2


class Source:
    """The data API; records every body and calls `before_answer` before each answer."""

    def __init__(self, rows_in_all: int = 20_000) -> None:
        rows = made_up_rows(rows_in_all)
        inner = create_data_api(rows, window_s=WINDOW_S, mode="per-batch", made_up=True).test_client()
        self.url = ""
        self.given: list[bytes] = []
        self.before_answer: Callable[[], Any] = lambda: None
        self.app = Flask("source")

        @self.app.get("/data")
        def data() -> Response:
            answer = inner.get("/data?group_number=1")
            if answer.status_code == 200:
                self.given.append(answer.data)
            self.before_answer()
            return Response(answer.data, answer.status_code, dict(answer.headers))


def samples(deployed: Deployed) -> dict[str, bytes]:
    """Every committed sample's body by its key."""
    with closing(deployed.store()) as store:
        keys = [key for key in store.list("datasets/covertype/samples/") if not key.endswith(".meta.json")]
        return {key: store.get(key).body for key in keys}  # type: ignore[union-attr]


def versions(deployed: Deployed) -> list[ModelVersion]:
    return VersionRegistry(deployed.settings("train")).versions("covertype")


def row_of(deployed: Deployed) -> dict[str, Any]:
    return example_row(deployed.get("classify/covertype"))


def classify(deployed: Deployed, row: dict[str, Any]) -> requests.Response:
    return requests.post(deployed.url("classify/covertype"), json=row, timeout=30)


def as_train(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    """MLflow's own client with the account of train."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "train")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", (deployed.secrets / "train-mlflow-password").read_text())
    return mlflow.MlflowClient(deployed.mlflow.url, deployed.mlflow.url)
