"""New pipelines, each one TOML and no code, compared with a random forest: `compare_with_forest`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from sklearn import datasets

from all_settings import AllSettings as Settings
from common.storage.folder import FolderStore
from conftest import printed_json
from fetch_batch.app import create_app
from local.drawings import draw_pets

# The share of correct answers may be this much below the forest's.
TOLERANCE = 0.01
PICTURES_PER_LABEL = 130
PICTURES = {"animals": "", "animals_from_scratch": 'backbone = "none"\nimage_size = 32\n'}


def source(kind: str, path: Path) -> str:
    return f'[source]\ntype = "{kind}"\npath = "{path}"\nexamples_per_fetch = 1000\nmin_interval_s = 1e-6\n'


def labels(values: list[str]) -> str:
    return "labels = [" + ", ".join(f'{{ value = "{value}" }}' for value in values) + "]\n"


def table_task(name: str, folder: Path) -> str:
    """Write a data set of scikit-learn as CSV; returns the pipeline file that reads it."""
    data = getattr(datasets, f"load_{name}")()
    columns = [str(column) for column in data.feature_names]
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "target"])
        writer.writerows([*row, label] for row, label in zip(data.data.tolist(), data.target.tolist(), strict=True))
    typed = [f'[[columns]]\nname = "{column}"\ntype = "number"\n' for column in columns]
    typed.append('[[columns]]\nname = "target"\ntype = "category"\n')
    target = '[target]\ncolumn = "target"\n' + labels([str(one) for one in range(len(data.target_names))])
    return source("table", folder / "table.csv") + "".join(typed) + target


def picture_task(folder: Path, train: str) -> str:
    """Draw cats, dogs and fish; returns the pipeline file that reads them."""
    draw_pets(folder, 2 * PICTURES_PER_LABEL, seed=3, size=96)
    (folder / "fish").mkdir()
    for number in range(PICTURES_PER_LABEL):
        draw_fish(np.random.default_rng(number)).save(folder / "fish" / f"{number}.jpg", "JPEG")
    return source("images", folder) + "[target]\n" + labels(["cat", "dog", "fish"]) + f"[train]\n{train}"


def draw_fish(chance: np.random.Generator, side: int = 192) -> Image.Image:
    """A fish of random colour and place on a random background: only its shape shows the label."""
    ground = chance.uniform(40, 220, 3) + chance.normal(0, 20, (3, 3, 3))
    small = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    picture = small.resize((side, side), Image.Resampling.BILINEAR)
    pen, long = ImageDraw.Draw(picture), side * chance.uniform(0.2, 0.3)
    high, (x, y) = long * chance.uniform(0.4, 0.6), side * chance.uniform(0.4, 0.6, 2)
    colour = tuple(int(one) for one in chance.integers(25, 245, 3))
    way = chance.choice([-1, 1])
    tail = x + way * long
    pen.polygon(
        [(tail - way * long * 0.3, y), (tail + way * long / 2, y - high), (tail + way * long / 2, y + high)], colour
    )
    pen.ellipse([x - long, y - high, x + long, y + high], colour)
    eye = x - way * long * 0.6
    pen.ellipse([eye - 6, y - 10, eye + 6, y + 2], (240, 240, 240))
    pen.ellipse([eye - 3, y - 7, eye + 3, y - 1], (20, 20, 20))
    return picture.reduce(2).filter(ImageFilter.BoxBlur(chance.uniform(0, 1)))


def compare_with_forest(
    make_settings: Callable[..., Settings], tmp_path: Path, name: str, epochs: int, splits: int
) -> None:
    """Collect and train on several splits; the network must answer correctly about as often as a random forest."""
    data = tmp_path / "data"
    data.mkdir()
    kind, task = (
        ("image", picture_task(data, PICTURES[name])) if name in PICTURES else ("tabular", table_task(name, data))
    )
    name = name.replace("_", "-")
    settings = make_settings()
    head = f'name = "{name}"\nkind = "{kind}"\ntitle = {{ en = "{name}" }}\n'
    (settings.pipelines / f"{name}.toml").write_text(head + task)
    collect(settings, FolderStore(tmp_path / "store"), name)
    scores = train(settings, tmp_path / "store", name, epochs, splits)
    network, forest, holdout = (sum(scores[key]) for key in ("network", "forest", "holdout"))
    assert holdout > 35 * splits
    assert network / holdout >= forest / holdout - TOLERANCE, scores


def collect(settings: Settings, store: FolderStore, name: str) -> None:
    client = create_app(settings, store).test_client()
    status = ""
    while status != "complete":
        answer = client.post(f"/{name}").json
        status = answer["results"][0]["status"]
        assert status in ("collected", "complete"), answer


def train(settings: Settings, store: Path, name: str, epochs: int, splits: int) -> dict[str, Any]:
    spec = {"pipelines": str(settings.pipelines), "store": str(store), "name": name, "epochs": epochs, "splits": splits}
    return dict(printed_json("new_task.py", json.dumps(spec), seconds=900))
