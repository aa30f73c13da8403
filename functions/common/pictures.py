"""The one decoder for pictures that fetch-batch, train and classify share: Pillow."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from common.errors import Unusable

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}
CONTENT_TYPES = tuple(FORMATS.values())
# A JPEG is decoded at reduced scale; the others take several bytes a pixel, whole, and so does a progressive JPEG.
MAX_PIXELS, MAX_PIXELS_PROGRESSIVE, MAX_PIXELS_JPEG = 12_500_000, 16_000_000, 50_000_000
# Pictures of more pixels than that are decoded one after another: a function has little memory, and several threads.
LARGE = 2_000_000
BAND = 256
# A JPEG is decoded at the smallest scale (1, 1/2, 1/4, 1/8) that keeps so much of the side that is wanted: the answers
# are as good as from more (docs/decisions.md).
KEPT = 0.95


ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_one_large = threading.Lock()


@contextlib.contextmanager
def _opened(body: bytes, draft: int = 0) -> Iterator[Image.Image]:
    """The picture, upright and in RGB. Raises Unusable if it is none, or too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture: Image.Image = Image.open(io.BytesIO(body), formats=list(FORMATS))
            progressive = "progressive" in picture.info
            most = (
                (MAX_PIXELS_PROGRESSIVE if progressive else MAX_PIXELS_JPEG) if picture.format == "JPEG" else MAX_PIXELS
            )
            pixels = picture.width * picture.height
            if pixels > most:
                raise Unusable(f"the picture has {picture.width} x {picture.height} pixels; {most:,} are the most")
            if draft:
                picture.draft("RGB", (draft, draft))
            large = (pixels if progressive else picture.width * picture.height) > LARGE
            with _one_large if large else contextlib.nullcontext():
                # Not ImageOps.exif_transpose: it writes the camera's notes anew, and broken ones stop it.
                turn = TURNS.get(picture.getexif().get(ORIENTATION, 1))
                yield _rgb(picture if turn is None else picture.transpose(turn))
    except Unusable:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        why = "its format is unknown" if isinstance(error, UnidentifiedImageError) else str(error)[:120]
        raise Unusable(f"not a whole picture of type {', '.join(FORMATS)}: {why}") from None


def _rgb(picture: Image.Image) -> Image.Image:
    """Grey, palette, CMYK and 16-bit become RGB; what is transparent becomes white."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture, dtype=np.float64)
        picture = Image.fromarray((values / (257 if values.max() > 255 else 1)).clip(0, 255).astype(np.uint8))
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        return _on_white(picture)
    if picture.mode == "RGB":
        picture.load()
        return picture
    return picture.convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    """Band by band: whole, it would take five times the picture's memory."""
    whole = Image.new("RGB", picture.size)
    for top in range(0, picture.height, BAND):
        band = picture.crop((0, top, picture.width, min(top + BAND, picture.height))).convert("RGBA")
        whole.paste(Image.alpha_composite(Image.new("RGBA", band.size, "white"), band).convert("RGB"), (0, top))
    return whole


class View(NamedTuple):
    """What a network gets to see of a picture: its middle, `centre` of it, as size x size points.

    `square`: the largest square in the middle, so that shapes stay as they are; otherwise both sides are squeezed.
    A JPEG is decoded at reduced scale if as many points of each side are left as `least_side` says.
    """

    size: int
    centre: float = 1.0
    square: bool = True
    least_side: int = 0

    def region(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what is seen, as shares of the sides of a picture of that size."""
        side = min(width, height)
        across, down = (self.centre * side / one if self.square else self.centre for one in (width, height))
        return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def square_view(size: int, centre: float = 1.0) -> View:
    """The view of a new network."""
    return View(size, centre, True, int(KEPT * size / centre))


def view_features(view: View) -> dict[str, Any]:
    """What a contract says of how its network sees pictures."""
    return {
        "image_size": view.size,
        "centre": view.centre,
        "crop": "square" if view.square else "none",
        "least_side": view.least_side,
    }


def picture_view(features: Mapping[str, Any]) -> View:
    """From a contract. Those of before squeezed pictures; the first ones saw all of them, at twice the side."""
    size = features["image_size"]
    square = features.get("crop", "none") == "square"
    return View(size, features.get("centre", 1.0), square, features.get("least_side", 2 * size))


def decode_picture(body: bytes, view: View) -> np.ndarray[Any, Any]:
    """Encoded picture -> uint8 (size, size, 3), as the view has it. Raises Unusable."""
    with _opened(body, draft=view.least_side or view.size) as picture:
        return resize_picture(picture, view)


def resize_picture(picture: Image.Image, view: View) -> np.ndarray[Any, Any]:
    left, top, right, bottom = view.region(picture.width, picture.height)
    box = (picture.width * left, picture.height * top, picture.width * right, picture.height * bottom)
    size = (view.size, view.size)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box, reducing_gap=2.0), dtype=np.uint8)


def resize_array(array: np.ndarray[Any, Any], view: View) -> np.ndarray[Any, Any]:
    """Pixels uint8 (h, w, 3) -> uint8 (size, size, 3)."""
    return resize_picture(Image.fromarray(np.ascontiguousarray(array, dtype=np.uint8), "RGB"), view)


def seen_region(body: bytes, view: View) -> tuple[float, float, float, float]:
    """What a view shows of a picture that can be decoded: left, top, right, bottom as shares of its sides."""
    with Image.open(io.BytesIO(body), formats=list(FORMATS)) as picture:
        width, height = picture.size
        turned = picture.getexif().get(ORIENTATION, 1) >= 5  # a quarter: the sides change places
    return view.region(height, width) if turned else view.region(width, height)


def canonical_picture(body: bytes) -> bytes:
    """Width, height and RGB pixels after orientation: equal for equal pictures, whatever the file. Raises Unusable."""
    with _opened(body) as picture:
        # Written in bands into one buffer, so that the pixels are not there twice more.
        whole = io.BytesIO()
        whole.write(f"{picture.width}x{picture.height}:".encode())
        for top in range(0, picture.height, BAND):
            whole.write(picture.crop((0, top, picture.width, min(top + BAND, picture.height))).tobytes())
        return whole.getvalue()
