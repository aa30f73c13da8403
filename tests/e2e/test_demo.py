"""scripts/demo with unusable sources: each pipeline reports its own reason and stops no other."""

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
BATCHES = """name = "down"
kind = "tabular"
title = { en = "No service there" }
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
    text = FLOWERS.replace('name = "flowers"', f'name = "{name}"', 1)
    return text.replace("${FLOWERS_SOURCE:-/nowhere/flowers.csv}", str(path)).replace("_fetch = 40", "_fetch = 1000")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a zip laid out like the public cats_and_dogs_filtered.zip, with folders train and validation."""
    folder = tmp_path_factory.mktemp("archive")
    drawn = draw_folders(folder / "drawn", 30)
    with zipfile.ZipFile(folder / "cats_and_dogs_filtered.zip", "w") as target:
        for file in sorted(drawn.rglob("*.png")):
            split = "validation" if int(file.stem) % 5 == 0 else "train"
            target.write(file, f"cats_and_dogs_filtered/{split}/{file.parent.name}s/{file.parent.name}.{file.name}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/cats_and_dogs_filtered.zip"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, archive: str) -> tuple[int, dict[str, Any], str]:
    """`scripts/demo --check` on five pipelines, two of them usable: exit code, last line, stderr."""
    home = tmp_path_factory.mktemp("demo")
    too_long = [[str(101 + number), *row[1:]] for number, row in enumerate(flower_rows(60))]
    draw_folders(home / "named", 2)
    for label, name in (("cat", "Katzen"), ("dog", "Hunde")):
        (home / "named" / label).rename(home / "named" / name)
    texts = {
        "down": BATCHES,
        "flowers": flowers("flowers", write_csv(home / "rows.csv", flower_rows(300))),
        "too-long": flowers("too-long", write_csv(home / "long.csv", too_long)),
        "drawn": PICTURES.replace("NAME", "drawn").replace("PATH", "${PETS_SOURCE}"),
        "named": PICTURES.replace("NAME", "named").replace("PATH", str(home / "named")),
    }
    (home / "pipelines").mkdir()
    for name, text in texts.items():
        (home / "pipelines" / f"{name}.toml").write_text(text)
    command, environment = demo_command(home / "home", free_port(), "--check")
    extra = {"SABUESO_PIPELINES": str(home / "pipelines"), "SABUESO_EPOCHS": "flowers=6,drawn=2"}
    # With these set the demo makes up no data.
    extra |= {"COVERTYPE_API_URL": "http://127.0.0.1:9", "PETS_SOURCE": archive}
    done = subprocess.run(
        command, env={**environment, **extra}, capture_output=True, text=True, timeout=550, cwd=ROOT, check=False
    )
    assert done.stdout.strip(), done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_usable_pipelines_are_trained_and_serve_beside_unusable_ones(checked: tuple[int, dict[str, Any], str]) -> None:
    code, last, stderr = checked
    validate(last, "demo_check")
    assert code == 1
    for name in ("flowers", "drawn"):
        result = last["pipelines"][name]
        assert (result["decision"], result["reason"]) == ("promoted", None), stderr
        assert result["seconds"]["classify"] > 0
    assert {name for name, result in last["pipelines"].items() if result["reason"]} == {"down", "named", "too-long"}


def test_each_unusable_source_is_reported_with_its_contents(checked: tuple[int, dict[str, Any], str]) -> None:
    _, last, stderr = checked
    reasons = {name: result["reason"] for name, result in last["pipelines"].items()}
    assert "no connection to http://127.0.0.1:9" in reasons["down"]
    assert "no pictures in folders named cat, cats, dog, dogs; there are 4 pictures: 2 in " in reasons["named"]
    assert "2 in Katzen" in reasons["named"]
    assert "no examples to learn from; petal: " in reasons["too-long"]
    assert all(last["pipelines"][name]["examples"] == 0 for name in ("down", "named", "too-long"))
    assert all(f"! {name}: {reason}" in stderr for name, reason in reasons.items() if reason)


def test_the_shown_example_is_a_collected_picture(
    checked: tuple[int, dict[str, Any], str],
) -> None:
    stderr = checked[2]
    [line] = [line for line in stderr.splitlines() if line.startswith("  drawn: ") and " is '" in line]
    assert line.split()[1].startswith(("cats_and_dogs_filtered/train/", "cats_and_dogs_filtered/validation/"))
