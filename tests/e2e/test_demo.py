"""scripts/demo with wrong sources: each pipeline reports its own reason, and none keeps the others from serving."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from e2e.conftest import ROOT, demo_command
from flowers import draw_folders, flower_rows, write_csv
from ports import free_port
from shapes import validate

pytestmark = [pytest.mark.e2e, pytest.mark.full]

FLOWERS = (ROOT / "tests" / "pipelines" / "flowers.toml").read_text()
PICTURES = """name = "NAME"
kind = "image"
title = { en = "Drawn pets" }
[source]
type = "images"
path = "PATH"
[target]
labels = [{ value = "cat", folders = ["cats"] }, { value = "dog", folders = ["dogs"] }]
[train]
image_size = 32
[gate]
floor = 0.01
"""
BATCHES = """name = "away"
kind = "tabular"
title = { en = "Nobody answers" }
[source]
type = "batch-api"
url = "http://127.0.0.1:9"
batches = 2
samples_per_batch = 1
[[columns]]
name = "petal"
type = "number"
[[columns]]
name = "species"
type = "category"
[target]
column = "species"
labels = [{ value = "small" }, { value = "large" }]
"""


def flowers(name: str, path: Path) -> str:
    found = FLOWERS.replace('name = "flowers"', f'name = "{name}"', 1)
    return found.replace("${FLOWERS_SOURCE:-/nowhere/flowers.csv}", str(path)).replace("_fetch = 40", "_fetch = 1000")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a zip in the form of the well-known one: train/cats, train/dogs, and others for validation."""
    folder = tmp_path_factory.mktemp("archive")
    drawn = draw_folders(folder / "drawn", 30)
    with zipfile.ZipFile(folder / "cats_and_dogs_filtered.zip", "w") as pack:
        for file in sorted(drawn.rglob("*.png")):
            part = "validation" if int(file.stem) % 5 == 0 else "train"
            pack.write(file, f"cats_and_dogs_filtered/{part}/{file.parent.name}s/{file.parent.name}.{file.name}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/cats_and_dogs_filtered.zip"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, archive: str) -> tuple[int, dict[str, Any], str]:
    """`scripts/demo --check` on five pipelines, two of them in order: its exit code, its last line, what it said."""
    home = tmp_path_factory.mktemp("demo")
    too_long = [[str(101 + number), *row[1:]] for number, row in enumerate(flower_rows(60))]
    draw_folders(home / "named", 2)
    for label, name in (("cat", "Katzen"), ("dog", "Hunde")):
        (home / "named" / label).rename(home / "named" / name)
    texts = {
        "away": BATCHES,
        "flowers": flowers("flowers", write_csv(home / "rows.csv", flower_rows(300))),
        "too-long": flowers("too-long", write_csv(home / "long.csv", too_long)),
        "drawn": PICTURES.replace("NAME", "drawn").replace("PATH", "${PETS_SOURCE}"),
        "named": PICTURES.replace("NAME", "named").replace("PATH", str(home / "named")),
    }
    (home / "pipelines").mkdir()
    for name, text in texts.items():
        (home / "pipelines" / f"{name}.toml").write_text(text)
    command, environment = demo_command(home / "home", free_port(), "--check")
    own = {"SABUESO_PIPELINES": str(home / "pipelines"), "SABUESO_EPOCHS": "flowers=6,drawn=2"}
    # Named, so that the demo makes no data of its own.
    own |= {"COVERTYPE_API_URL": "http://127.0.0.1:9", "PETS_SOURCE": archive}
    done = subprocess.run(
        command, env={**environment, **own}, capture_output=True, text=True, timeout=550, cwd=ROOT, check=False
    )
    assert done.stdout.strip(), done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_what_is_in_order_is_trained_and_serves_beside_what_is_not(checked: tuple[int, dict[str, Any], str]) -> None:
    code, last, said = checked
    validate(last, "demo_check")
    assert code == 1
    for name in ("flowers", "drawn"):
        found = last["pipelines"][name]
        assert (found["decision"], found["reason"]) == ("promoted", None), said
        assert found["seconds"]["classify"] > 0
    assert {name for name, found in last["pipelines"].items() if found["reason"]} == {"away", "named", "too-long"}


def test_each_source_that_cant_be_used_is_told_with_what_is_there(checked: tuple[int, dict[str, Any], str]) -> None:
    _, last, said = checked
    reasons = {name: found["reason"] for name, found in last["pipelines"].items()}
    assert "no connection to http://127.0.0.1:9" in reasons["away"]
    assert "no pictures in folders named cat, cats, dog, dogs; there are 4 pictures: 2 in " in reasons["named"]
    assert "2 in Katzen" in reasons["named"]
    assert "there are no examples to learn from; petal: " in reasons["too-long"]
    assert all(last["pipelines"][name]["examples"] == 0 for name in ("away", "named", "too-long"))
    assert all(f"! {name}: {reason}" in said for name, reason in reasons.items() if reason)


def test_the_example_is_a_picture_that_was_collected_of_the_pipeline_itself(
    checked: tuple[int, dict[str, Any], str],
) -> None:
    said = checked[2]
    [line] = [line for line in said.splitlines() if line.startswith("  drawn: ") and " is '" in line]
    assert line.split()[1].startswith(("cats_and_dogs_filtered/train/", "cats_and_dogs_filtered/validation/"))
