"""Pipelines that nobody tuned for: a new TOML and no code, from the source to a bundle: `learn_beside_a_forest`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from sklearn import datasets

from common.objects import FolderObjects
from common.settings import Settings
from conftest import told_by
from fetch_batch.app import create_app
from local.drawings import draw_pets

LESS = 0.01
ONE_KIND = 130  # pictures of each label
PICTURES = {"animals": "", "animals_from_nothing": 'backbone = "none"\nimage_size = 32\n'}


def source(kind: str, path: Path) -> str:
    return f'[source]\ntype = "{kind}"\npath = "{path}"\nexamples_per_fetch = 1000\nmin_interval_s = 1e-6\n'


def labels(values: list[str]) -> str:
    return "labels = [" + ", ".join(f'{{ value = "{value}" }}' for value in values) + "]\n"


def table_task(name: str, folder: Path) -> str:
    """Write a data set of scikit-learn as CSV; the pipeline file that reads it."""
    found = getattr(datasets, f"load_{name}")()
    columns = [str(column) for column in found.feature_names]
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "target"])
        writer.writerows([*row, label] for row, label in zip(found.data.tolist(), found.target.tolist(), strict=True))
    typed = [f'[[columns]]\nname = "{column}"\ntype = "number"\n' for column in columns]
    typed.append('[[columns]]\nname = "target"\ntype = "category"\n')
    target = '[target]\ncolumn = "target"\n' + labels([str(one) for one in range(len(found.target_names))])
    return source("table", folder / "table.csv") + "".join(typed) + target


def picture_task(folder: Path, train: str) -> str:
    """Draw cats, dogs and fishes; the pipeline file that reads them."""
    draw_pets(folder, 2 * ONE_KIND, seed=3, size=96)
    (folder / "fish").mkdir()
    for number in range(ONE_KIND):
        draw_fish(np.random.default_rng(number)).save(folder / "fish" / f"{number}.jpg", "JPEG")
    return source("images", folder) + "[target]\n" + labels(["cat", "dog", "fish"]) + f"[train]\n{train}"


def draw_fish(chance: np.random.Generator, side: int = 192) -> Image.Image:
    """A fish at a random place, in a random colour on a random background: only its shape gives the label away."""
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


def learn_beside_a_forest(
    make_settings: Callable[..., Settings], tmp_path: Path, name: str, epochs: int, splits: int
) -> None:
    """Collect, train on several splits, and be right about as often as a random forest."""
    data = tmp_path / "data"
    data.mkdir()
    kind, task = (
        ("image", picture_task(data, PICTURES[name])) if name in PICTURES else ("tabular", table_task(name, data))
    )
    name = name.replace("_", "-")
    settings = make_settings()
    head = f'name = "{name}"\nkind = "{kind}"\ntitle = {{ en = "{name}" }}\n'
    (settings.pipelines / f"{name}.toml").write_text(head + task)
    collect(settings, FolderObjects(tmp_path / "store"), name)
    found = trained(settings, tmp_path / "store", name, epochs, splits)
    ours, forest, of = (sum(found[key]) for key in ("ours", "forest", "of"))
    assert of > 35 * splits
    assert ours / of >= forest / of - LESS, found


def collect(settings: Settings, store: FolderObjects, name: str) -> None:
    client = create_app(settings, store).test_client()
    status = ""
    while status != "complete":
        answer = client.post(f"/{name}").json
        status = answer["results"][0]["status"]
        assert status in ("collected", "complete"), answer


def trained(settings: Settings, store: Path, name: str, epochs: int, splits: int) -> dict[str, Any]:
    where = {"pipelines": str(settings.pipelines), "store": str(store)}
    spec = {**where, "name": name, "epochs": epochs, "splits": splits}
    return dict(told_by("new_task.py", json.dumps(spec), seconds=900))
