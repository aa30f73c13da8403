"""Schemathesis against the running functions: their openapi.json as served, and with pipelines that exist."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from conftest import Served, wait_until
from deployed import Function, environment_alone
from fake_mlflow import FakeMlflow
from servers import ROOT, answers

ROWS = ("application/json", "text/csv")
PIPELINES = ["pets", "covertype"]
TOKEN = "the token of a test"
# Function and document of each pass: as served, with pipelines that exist, without the token, or of one pipeline.
PASSES = [
    ("classify", "as served"),
    ("classify", "pets"),
    ("classify", "covertype"),
    ("train", "as served"),
    ("train", "without token"),
    ("train", "pipelines"),
    ("fetch-batch", "as served"),
    ("fetch-batch", "pipelines"),
]
# docs/reliability.md explains each line.
CONFIG = """
[[operations]]
include-operation-id = ["promote", "rollback"]  # 422: a version that can't serve; no earlier champion
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "404", "409", "422"]
"""


@contextlib.contextmanager
def three_functions(home: Path, bundles: Path) -> Iterator[dict[str, Function]]:
    """The functions with a champion of each pipeline, an empty folder store, and sources that are not there."""
    (home / "secrets").mkdir()
    (home / "secrets" / "bundle-key").write_text("the key of a test")
    (home / "secrets" / "train-token").write_text(TOKEN)
    mlflow = FakeMlflow(home / "mlflow")
    for name in PIPELINES:
        mlflow.register(name, "1", bundles / name)
    served = Served(mlflow.app)
    functions: dict[str, Function] = {}
    with contextlib.ExitStack() as stack:
        stack.callback(served.stop)
        for name in ("fetch-batch", "train", "classify"):
            environment = {
                **environment_alone(name, home),
                "SABUESO_SCRATCH": str(home / "scratch" / name),
                "MLFLOW_TRACKING_URI": served.url,
                "COVERTYPE_API_URL": "http://127.0.0.1:9",
                "PETS_SOURCE": str(home / "no-such-folder"),
            }
            functions[name] = Function(name, int(environment["PORT"]), environment, home)
            stack.enter_context(functions[name])
        wait_until(lambda: answers(f"{functions['classify'].url}/readyz"))
        yield functions


def check_described(
    functions: dict[str, Function], function: str, document: str, home: Path, examples: int, seed: int
) -> None:
    """One pass of PASSES. Fails with schemathesis's report, or if something unexpected stands in the function's log."""
    url = functions[function].url
    options = ["-H", f"Authorization: Bearer {TOKEN}"] if function == "train" and document != "without token" else []
    described = {
        "as served": lambda: openapi(url),
        "without token": lambda: openapi_for(url, PIPELINES),
        "pipelines": lambda: openapi_for(url, PIPELINES),
    }.get(document, lambda: openapi_of_pipeline(url, document))
    run_schemathesis(url, described(), home, examples, seed, *options)
    log = functions[function].log.read_text()
    assert "Traceback" not in log and "unexpected error" not in log, log[-3000:]


def run_schemathesis(url: str, document: Any, home: Path, examples: int, seed: int, *options: str) -> None:
    """Check the function against the document with all checks; its report is the error."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "schemathesis.toml").write_text(CONFIG)
    (home / "openapi.json").write_text(json.dumps(document))
    paths = os.pathsep.join(str(ROOT / name) for name in ("functions", "scripts", "tests"))
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("st")), "run", "openapi.json", "--url", url),
            *("--max-examples", str(examples), "--seed", str(seed), "--generation-database", "none"),
            *("--checks", "all", "--no-color", "--continue-on-failure", "--request-timeout", "60", *options),
        ],
        cwd=home,
        env={**os.environ, "PYTHONPATH": paths, "SCHEMATHESIS_HOOKS": "schemathesis_hooks"},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-1500:])
    assert done.returncode == 0, done.stdout + done.stderr


def openapi(url: str) -> Any:
    return requests.get(f"{url}/openapi.json", timeout=30).json()


def openapi_for(url: str, pipelines: list[str]) -> Any:
    """openapi.json with the names of pipelines that exist: with others, every answer is 404."""
    document = openapi(url)
    for path in document["paths"].values():
        for parameter in path.get("parameters", []):
            parameter["schema"] = {"enum": pipelines}
    return document


def openapi_of_pipeline(url: str, pipeline: str) -> Any:
    """openapi.json of classify with the bodies that one pipeline takes: its kind decides, and its columns."""
    document = openapi_for(url, [pipeline])
    described_input = requests.get(f"{url}/{pipeline}", timeout=30).json()["input"]
    content = document["paths"]["/{pipeline}"]["post"]["requestBody"]["content"]
    for media_type in list(content):
        if (media_type in ROWS) != (described_input["kind"] == "tabular"):
            del content[media_type]
    if "multipart/form-data" in content:
        # Of a list of pictures schemathesis sends one, as a field that is no file.
        form = content["multipart/form-data"]["schema"]["properties"]
        form["image"] = form["image"]["items"]
    if "application/json" in content:
        row = described_input["schema"]
        for column in row["properties"].values():
            del column["title"]  # ours is in two languages
            if "x-known" in column:
                column["type"] = ["string", "number"]  # as in a CSV, a number is a text too
        content["application/json"]["schema"] = {"oneOf": [row, {"type": "array", "items": row, "minItems": 1}]}
    return document
