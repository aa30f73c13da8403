"""Rows for the pipeline `flowers` of the tests, and drawn pictures for the shipped pipeline `pets`."""

import csv
import gzip
import io
import random
from pathlib import Path

from PIL import Image, ImageDraw

COLUMNS = ["petal", "species", "turn", "colour", "place"]
CENTRES = {"small": 10, "middle": 40, "large": 80}
COLOURS = {"cat": (220, 120, 30), "dog": (40, 60, 200)}


def flower_rows(count: int, seed: int = 0) -> list[list[str]]:
    """Rows whose species depends only on the petal."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        species = list(CENTRES)[number % 3]
        petal = f"{CENTRES[species] + chance.uniform(-8, 8):.3f}"
        colours, places = ["red", "blue", "white"], ["sun", "shade"]
        rows.append([petal, species, str(chance.randrange(360)), chance.choice(colours), chance.choice(places)])
    return rows


def as_record(row: list[str]) -> dict[str, float | str]:
    """A row as a client of classify sends it."""
    record = dict(zip(COLUMNS, row, strict=True))
    del record["species"]
    return {**record, "petal": float(record["petal"]), "turn": float(record["turn"])}


def write_csv(path: Path, rows: list[list[str]], columns: list[str] = COLUMNS) -> Path:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([columns, *rows])
    body = text.getvalue().encode()
    path.write_bytes(gzip.compress(body) if path.name.endswith(".gz") else body)
    return path


def draw(label: str, seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture whose colour shows its label."""
    chance = random.Random(f"{label}{seed}")
    colour = tuple(min(255, max(0, value + chance.randint(-25, 25))) for value in COLOURS[label])
    picture = Image.new("RGB", size, colour)
    x, y = chance.randrange(size[0] // 2), chance.randrange(size[1] // 2)
    ImageDraw.Draw(picture).rectangle([(x, y), (x + 6, y + 6)], fill="white")
    return picture


def encode(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def draw_folders(root: Path, count: int, first: int = 0) -> Path:
    """`count` pictures of each label in class-named folders."""
    for label in COLOURS:
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            (root / label / f"{number}.png").write_bytes(encode(draw(label, number)))
    return root
