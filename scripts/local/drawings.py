"""Cats and dogs drawn by a program: only their shape tells them apart, not colour or position."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

EDITION = 2  # increase it when the drawings change, so that older folders are drawn again
NOTE = (
    "The pictures in this folder are drawn by a program; they are not photographs.\n"
    "Las imágenes de esta carpeta las dibuja un programa; no son fotografías.\n"
)
# Whole bodies are harder than faces: with half of them, a minute of training is not enough.
BODY_SHARE = 0.2
PALETTE = [
    (222, 184, 135), (194, 130, 70), (120, 78, 48), (70, 58, 52), (150, 150, 155), (225, 220, 212),
    (95, 98, 110), (200, 160, 110), (235, 205, 160), (165, 95, 50), (45, 42, 45), (180, 170, 150),
]  # fmt: skip
EYES = [(120, 170, 80), (215, 170, 60), (110, 75, 40), (110, 160, 200), (70, 50, 35)]
NOSES = [(215, 140, 140), (60, 45, 45), (120, 75, 65)]
PINK = (230, 125, 140)
BLACK = (22, 20, 22)
TURN = np.linspace(0, 2 * np.pi, 28, endpoint=False)
CIRCLE = np.stack([np.cos(TURN), np.sin(TURN)], axis=1)
Colour = tuple[int, ...]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Fur:
    """The colours of one animal."""

    base: Colour
    dark: Colour
    light: Colour
    ear: Colour
    nose: Colour
    eye: Colour


class Pen:
    """Draws in an animal's own coordinates: x to the right, y down; its head or body has size 1, roughly."""

    def __init__(self, draw: ImageDraw.ImageDraw, matrix: np.ndarray, centre: np.ndarray) -> None:
        self.draw, self.matrix, self.centre = draw, matrix, centre
        self.scale = abs(float(np.linalg.det(matrix))) ** 0.5

    def at(self, x: float, y: float, size: float, tilt: float = 0) -> "Pen":
        """A pen for a part, with its origin at (x, y) and the unit `size`."""
        cos, sin = size * np.cos(tilt), size * np.sin(tilt)
        matrix = np.array([[cos, sin], [-sin, cos]]) @ self.matrix
        return Pen(self.draw, matrix, np.array([x, y]) @ self.matrix + self.centre)

    def shape(self, points: Points | np.ndarray, fill: Colour) -> None:
        self.draw.polygon(self._place(points), fill=fill)

    def soft(self, points: Points, fill: Colour) -> None:
        """A shape with rounded corners (Chaikin's method)."""
        corners = np.array(points)
        for _ in range(3):
            following = np.roll(corners, -1, axis=0)
            pairs = [0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following]
            corners = np.stack(pairs, axis=1).reshape(-1, 2)
        self.shape(corners, fill)

    def oval(self, x: float, y: float, width: float, height: float, fill: Colour) -> None:
        self.shape(CIRCLE * (width, height) + (x, y), fill)

    def line(self, points: Points, width: float, fill: Colour) -> None:
        self.draw.line(self._place(points), fill=fill, width=max(2, round(width * self.scale)), joint="curve")

    def limb(self, points: Points, width: float, fill: Colour) -> None:
        """A thick line with round ends."""
        self.line(points, width, fill)
        for x, y in (points[0], points[-1]):
            self.oval(x, y, width / 2, width / 2, fill)

    def _place(self, points: Points | np.ndarray) -> list[float]:
        return (np.asarray(points) @ self.matrix + self.centre).ravel().tolist()


def _shade(colour: Colour, share: float) -> Colour:
    """Darker towards -1, lighter towards 1."""
    goal = 255 if share > 0 else 0
    return tuple(round(part + (goal - part) * abs(share)) for part in colour)


def _fur(rng: np.random.Generator) -> Fur:
    near = np.array(PALETTE[rng.integers(len(PALETTE))]) + rng.normal(0, 12, 3)
    base = tuple(int(part) for part in np.clip(near, 25, 245))
    light = _shade(base, rng.uniform(0.15, 0.75))
    dark = _shade(base, -rng.uniform(0.2, 0.5))
    ear = (PINK, dark, light)[rng.integers(3)]
    return Fur(base, dark, light, ear, NOSES[rng.integers(len(NOSES))], EYES[rng.integers(len(EYES))])


def _eye(pen: Pen, fur: Fur, x: float, y: float, size: float, slit: bool) -> None:
    pen.oval(x, y, size * 1.12, size * 1.05, _shade(fur.dark, -0.4))
    pen.oval(x, y, size, size * 0.92, fur.eye)
    pen.oval(x, y, size * (0.25 if slit else 0.62), size * (0.85 if slit else 0.62), BLACK)
    pen.oval(x + size * 0.3, y - size * 0.3, size * 0.2, size * 0.2, (250, 250, 250))


def _whiskers(pen: Pen, rng: np.random.Generator, x: float, y: float, side: int) -> None:
    colour = [(245, 245, 245), (40, 38, 40)][rng.integers(2)]
    for slope in (-0.22, 0.0, 0.2):
        pen.line([(x, y + slope / 3), (x + side * rng.uniform(0.75, 1.0), y + slope * 1.6)], 0.025, colour)


def _cat_face(pen: Pen, rng: np.random.Generator, fur: Fur) -> None:
    tip, lean, height = rng.uniform(1.3, 1.65), rng.uniform(0.68, 0.88), rng.uniform(0.78, 0.9)
    for side in (-1, 1):
        ear = np.array([(side * 0.95, -0.15), (side * lean, -tip), (side * 0.12, -0.7)])
        pen.shape(ear, fur.base)
        pen.shape(ear + (ear.mean(axis=0) - ear) * 0.4, fur.ear)
    pen.oval(0, 0, 1, height, fur.base)
    if rng.random() < 0.3:
        pen.oval(rng.choice([-0.45, 0.45]), -0.2, 0.4, 0.42, fur.dark)
    if rng.random() < 0.45:
        for x in (-0.22, 0, 0.22):
            pen.line([(x * 1.2, -0.76), (x, -0.42)], 0.09, fur.dark)
    for side in (-1, 1):
        pen.oval(side * 0.18, 0.4, 0.27, 0.2, fur.light)
    slit, size = rng.random() < 0.6, rng.uniform(0.19, 0.27)
    for side in (-1, 1):
        _eye(pen, fur, side * 0.43, -0.08, size, slit)
        _whiskers(pen, rng, side * 0.32, 0.38, side)
    pen.shape([(-0.12, 0.22), (0.12, 0.22), (0, 0.35)], fur.nose)
    pen.line([(-0.22, 0.5), (-0.1, 0.54), (0, 0.44), (0.1, 0.54), (0.22, 0.5)], 0.04, BLACK)


def _dog_face(pen: Pen, rng: np.random.Generator, fur: Fur) -> None:
    wide, high, drop = rng.uniform(0.74, 0.86), rng.uniform(0.85, 0.98), rng.uniform(0.35, 0.95)
    ear = (fur.dark, fur.base, fur.light)[rng.integers(3)]
    raised = rng.random() < 0.2
    for side in (-1, 1) if raised else ():  # long ears with round tips
        pen.soft([(side * 0.15, -0.5), (side * 0.4, -1.75), (side * 0.95, -1.6), (side * 0.85, -0.3)], ear)
    pen.oval(0, -0.05, wide, high, fur.base)
    if rng.random() < 0.3:
        pen.oval(rng.choice([-0.35, 0.35]), -0.3, 0.33, 0.38, fur.dark)
    for side in () if raised else (-1, 1):
        outer = rng.uniform(1.15, 1.4)
        hang = [(0.3, -1.0), (0.95, -0.95), (outer, -0.1), (outer - 0.05, drop), (0.85, drop), (0.62, -0.3)]
        pen.soft([(side * x, y) for x, y in hang], _shade(ear, -0.12))
    if rng.random() < 0.5:
        pen.oval(0, 1.0, 0.17, rng.uniform(0.2, 0.38), PINK)
    muzzle = rng.uniform(0.42, 0.54)
    pen.oval(0, 0.48, muzzle, rng.uniform(0.45, 0.55), fur.light)
    pen.line([(0, 0.3), (0, 0.68)], 0.04, BLACK)
    pen.line([(-0.3, 0.68), (-0.15, 0.78), (0, 0.68), (0.15, 0.78), (0.3, 0.68)], 0.05, BLACK)
    pen.oval(0, 0.22, rng.uniform(0.18, 0.25), 0.16, _shade(fur.nose, -0.3))
    for side in (-1, 1):
        _eye(pen, fur, side * 0.33, -0.22, rng.uniform(0.12, 0.16), slit=False)


def _cat_profile(pen: Pen, rng: np.random.Generator, fur: Fur) -> None:
    tip = rng.uniform(1.25, 1.55)
    pen.shape([(0.05, -0.5), (0.4, -tip), (0.7, -0.3)], fur.dark)
    pen.oval(0, 0, 0.85, 0.78, fur.base)
    pen.shape([(-0.7, -0.3), (-0.35, -tip), (0.15, -0.6)], fur.base)
    pen.oval(0.6, 0.25, 0.35, 0.3, fur.light)
    pen.shape([(0.85, 0.08), (0.98, 0.15), (0.85, 0.26)], fur.nose)
    _eye(pen, fur, 0.35, -0.12, 0.19, rng.random() < 0.6)
    _whiskers(pen, rng, 0.6, 0.32, 1)


def _dog_profile(pen: Pen, rng: np.random.Generator, fur: Fur) -> None:
    long = rng.uniform(1.35, 1.75)
    if rng.random() < 0.5:
        pen.soft([(0.7, 0.4), (1.15, 0.4), (1.15, 1.2), (0.8, 1.25)], PINK)
    pen.oval(0, 0, 0.75, 0.75, fur.base)
    snout = [(0.2, -0.5), (0.8, -0.15), (long, -0.15), (long + 0.1, 0.5), (0.7, 0.75), (0.0, 0.75)]
    pen.soft(snout, (fur.base, fur.light)[rng.integers(2)])
    pen.oval(long, 0.02, 0.17, 0.15, _shade(fur.nose, -0.3))
    pen.line([(long - 0.1, 0.38), (0.65, 0.42)], 0.05, BLACK)
    drop = rng.uniform(0.45, 0.9)
    pen.soft([(-0.6, -0.75), (0.15, -0.8), (0.15, 0.1), (-0.1, drop), (-0.55, drop), (-0.65, 0.0)], fur.dark)
    _eye(pen, fur, 0.38, -0.22, 0.12, slit=False)


def _cat_body(pen: Pen, rng: np.random.Generator, fur: Fur) -> None:
    tip, far = rng.uniform(-0.35, 0.3), _shade(fur.base, -0.2)
    if rng.random() < 0.5:  # walking, tail up
        tail = [(-0.75, -0.1), (-1.0, -0.35), (-1.08, -0.75), (-1.0 + tip / 3, -1.1), (-0.95 + tip, -1.3)]
        pen.limb(tail, 0.12, fur.base)
        for x, colour in ((-0.45, far), (0.4, far), (-0.65, fur.base), (0.6, fur.base)):
            pen.limb([(x, 0.1), (x + rng.uniform(-0.15, 0.15), 0.8)], 0.17, colour)
        pen.soft([(-1.0, -0.4), (0, -0.3), (0.95, -0.5), (0.95, 0.4), (0, 0.42), (-1.0, 0.45)], fur.base)
        head = pen.at(0.82, -0.5, rng.uniform(0.4, 0.48), rng.uniform(-0.2, 0.2))
    else:  # sitting, tail around the body
        tail = [(0.4, 0.8), (0.85, 0.75), (1.0, 0.4 + tip / 2), (0.9, 0.1 + tip)]
        pen.limb(tail, 0.13, fur.dark)
        pen.soft([(-0.3, -0.7), (0.3, -0.7), (0.75, 0.3), (0.75, 1.05), (-0.75, 1.05), (-0.75, 0.3)], fur.base)
        for x in (-0.17, 0.17):
            pen.limb([(x, 0.2), (x * 1.1, 0.88)], 0.2, fur.light)
        head = pen.at(rng.uniform(-0.1, 0.1), -0.72, rng.uniform(0.45, 0.55), rng.uniform(-0.25, 0.25))
    (_cat_face if rng.random() < 0.6 else _cat_profile)(head, rng, fur)


def _dog_body(pen: Pen, rng: np.random.Generator, fur: Fur) -> None:
    wag, far = rng.uniform(-0.2, 0.25), _shade(fur.base, -0.2)
    if rng.random() < 0.6:  # standing
        pen.limb([(-0.75, -0.15), (-1.05, -0.4), (-1.2, -0.7 + wag)], 0.19, fur.base)
        for x, colour in ((-0.45, far), (0.45, far), (-0.7, fur.base), (0.65, fur.base)):
            pen.limb([(x, 0.1), (x + rng.uniform(-0.12, 0.12), 0.95)], 0.22, colour)
        pen.soft([(-1.0, -0.45), (0, -0.35), (1.0, -0.6), (1.0, 0.5), (0.2, 0.35), (-1.0, 0.4)], fur.base)
        pen.soft([(0.3, -0.4), (0.6, -0.95), (1.15, -0.8), (1.0, 0.2), (0.5, 0.3)], fur.base)
        head = pen.at(0.9, -0.78, rng.uniform(0.38, 0.46), rng.uniform(-0.25, 0.2))
    else:  # sitting
        pen.limb([(-0.45, 0.85), (-0.85, 0.75), (-1.1, 0.45 + wag)], 0.19, fur.base)
        pen.soft([(-0.1, -0.8), (0.5, -0.8), (0.7, 0.2), (0.5, 1.0), (-0.85, 1.05), (-0.8, 0.2)], fur.base)
        for x in (0.15, 0.48):
            pen.limb([(x, 0.0), (x + 0.05, 0.9)], 0.2, fur.light)
        head = pen.at(0.25, -0.8, rng.uniform(0.42, 0.52), rng.uniform(-0.25, 0.25))
    (_dog_face if rng.random() < 0.4 else _dog_profile)(head, rng, fur)


def _background(rng: np.random.Generator, side: int) -> Image.Image:
    """A plain, graded, blocky or cloudy background with random shapes."""
    cells = (1, 2, 5, 9)[rng.integers(4)]
    colour = rng.uniform(20, 240, 3)
    colour = colour.mean() + (colour - colour.mean()) * rng.uniform(0.1, 0.8)
    colours = colour + rng.normal(0, rng.uniform(5, 35), (cells, cells, 3))
    small = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    how = Image.Resampling.NEAREST if cells == 5 else Image.Resampling.BILINEAR
    ground = small.resize((side, side), how)
    pen = Pen(ImageDraw.Draw(ground), np.eye(2) * side, np.zeros(2))
    for _ in range(rng.integers(0, 5)):
        paint = tuple(int(part) for part in rng.integers(20, 240, 3))
        (x, y), (width, height) = rng.random(2), rng.uniform(0.03, 0.2, 2)
        kind = rng.integers(3)
        if kind == 0:
            pen.oval(x, y, width, height, paint)
        elif kind == 1:
            pen.shape((rng.random((rng.integers(3, 5), 2)) - 0.5) * 0.4 + (x, y), paint)
        else:
            pen.line([(x, y), (x + width * 3 - 0.3, y + height * 3 - 0.3)], rng.uniform(0.01, 0.04), paint)
    return ground


def _picture(kind: str, rng: np.random.Generator, size: int) -> Image.Image:
    """One drawing, at twice its size and reduced, so that its edges are smooth."""
    side = 2 * size
    canvas = _background(rng, side)
    body = rng.random() < BODY_SHARE
    scale = side * (rng.uniform(0.25, 0.34) if body else rng.uniform(0.2, 0.32))
    angle = rng.normal(0, 0.16)
    flip, stretch = rng.choice([-1, 1]), rng.uniform(0.9, 1.1)
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.diag([flip * stretch, 1 / stretch]) @ turned * scale
    centre = side * (np.array([0.5, 0.54]) + rng.uniform(-0.1, 0.1, 2))
    pen, fur = Pen(ImageDraw.Draw(canvas), matrix, centre), _fur(rng)
    if body:
        (_cat_body if kind == "cat" else _dog_body)(pen, rng, fur)
    else:
        pen.soft([(-0.7, 0.5), (0.7, 0.5), (1.3, 1.6), (1.4, 4), (-1.4, 4), (-1.3, 1.6)], _shade(fur.base, -0.1))
        (_cat_face if kind == "cat" else _dog_face)(pen, rng, fur)
    picture = canvas.reduce(2)
    if rng.random() < 0.35:
        picture = picture.filter(ImageFilter.BoxBlur(rng.uniform(0.4, 1.4)))
    light = np.asarray(picture, np.float32) * rng.uniform(0.7, 1.2) + rng.uniform(-20, 20)
    light += rng.standard_normal((size, size, 1), np.float32) * rng.uniform(0, 10)
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))


def draw_pets(folder: Path, count: int, seed: int, size: int = 160) -> None:
    """Write folder/cat/0000.jpg ... and folder/dog/..., half each, unless they exist already."""
    note = folder / "MADE-UP.txt"
    whole = f"{NOTE}Complete: {count} pictures, seed {seed}, size {size}, edition {EDITION}.\n"
    names = [(kind, number) for number in range((count + 1) // 2) for kind in ("cat", "dog")][:count]
    wanted = {folder / kind / f"{number:04}.jpg": (kind, number) for kind, number in names}
    present = {path for kind in ("cat", "dog") for path in (folder / kind).glob("*")}
    if note.exists() and note.read_text("utf-8") == whole and present == set(wanted):
        return
    if present and not note.exists():
        raise FileExistsError(f"{folder} has pictures that this program did not draw; choose another folder")
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    _write(note, NOTE.encode())
    for path in present - set(wanted):
        path.unlink()
    for path, (kind, number) in wanted.items():
        rng = np.random.default_rng([seed, number, kind == "cat"])
        part = folder / f".{kind}-{path.name}"
        _picture(kind, rng, size).save(part, "JPEG", quality=88)
        part.replace(path)
    _write(note, whole.encode())


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}")
    part.write_bytes(content)
    part.replace(path)
