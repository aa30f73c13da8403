"""Decodes pictures with Pillow. fetch-batch, train and classify share this decoder."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from common.errors import Unusable
from common.inference.contract import PictureFeatures

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}
CONTENT_TYPES = tuple(FORMATS.values())
# Pixel limits follow memory: baseline JPEGs are decoded at reduced scale, all others need several bytes per pixel.
MAX_PIXELS, MAX_PIXELS_PROGRESSIVE, MAX_PIXELS_JPEG = 12_500_000, 16_000_000, 50_000_000
# Larger pictures are decoded one at a time, across all threads: a function has little memory.
LARGE_PIXELS = 2_000_000
BAND_HEIGHT = 256
# A JPEG is decoded at the smallest scale (1, 1/2, 1/4, 1/8) that keeps this share of the needed side: answers are as
# good as from larger scales (docs/decisions/jpegs-decoded-at-reduced-scale.md).
MIN_SIDE_SHARE = 0.95

ORIENTATION = 0x0112
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_large_picture_lock = threading.Lock()


@contextlib.contextmanager
def _opened(body: bytes, draft: int = 0) -> Iterator[Image.Image]:
    """The picture, upright and in RGB. `draft`: the least side to decode a JPEG at, 0 for its full size.

    Raises Unusable if the file is not a picture or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture: Image.Image = Image.open(io.BytesIO(body), formats=list(FORMATS))
            progressive = "progressive" in picture.info
            limit = MAX_PIXELS
            if picture.format == "JPEG":
                limit = MAX_PIXELS_PROGRESSIVE if progressive else MAX_PIXELS_JPEG
            pixels = picture.width * picture.height
            if pixels > limit:
                raise Unusable(
                    f"the picture has {picture.width} x {picture.height} pixels; at most {limit:,} are allowed"
                )
            if draft:
                picture.draft("RGB", (draft, draft))
            large = (pixels if progressive else picture.width * picture.height) > LARGE_PIXELS
            with _large_picture_lock if large else contextlib.nullcontext():
                # Not ImageOps.exif_transpose: it rewrites the EXIF data and fails if they are damaged.
                transposition = TRANSPOSITIONS.get(picture.getexif().get(ORIENTATION, 1))
                yield _rgb(picture if transposition is None else picture.transpose(transposition))
    except Unusable:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        why = "its format is unknown" if isinstance(error, UnidentifiedImageError) else str(error)[:120]
        raise Unusable(f"can't be read as a picture of type {', '.join(FORMATS)}: {why}") from None


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert grey, palette, CMYK and 16-bit pictures to RGB; transparent areas become white."""
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
    """Blend with white in bands: all at once, it would take five times the picture's memory."""
    opaque = Image.new("RGB", picture.size)
    for top in range(0, picture.height, BAND_HEIGHT):
        band = picture.crop((0, top, picture.width, min(top + BAND_HEIGHT, picture.height))).convert("RGBA")
        opaque.paste(Image.alpha_composite(Image.new("RGBA", band.size, "white"), band).convert("RGB"), (0, top))
    return opaque


class View(NamedTuple):
    """The region of a picture that a network sees, scaled to size x size pixels.

    `square`: the largest central square, which keeps proportions; otherwise the whole picture, squeezed to a square.
    `centre`: the central share of it that is seen. A JPEG is decoded at the smallest scale that keeps `least_side`
    pixels of each side.
    """

    size: int
    centre: float = 1.0
    square: bool = True
    least_side: int = 0

    def region(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the seen region, as shares of the picture's width and height."""
        side = min(width, height)
        across, down = self.centre, self.centre
        if self.square:
            across, down = self.centre * side / width, self.centre * side / height
        return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def square_view(size: int, centre: float = 1.0) -> View:
    """The view of newly trained networks."""
    return View(size, centre, True, int(MIN_SIDE_SHARE * size / centre))


def view_features(view: View) -> PictureFeatures:
    """The view as written to a contract."""
    return PictureFeatures(
        image_size=view.size,
        centre=view.centre,
        crop="square" if view.square else "none",
        least_side=view.least_side,
    )


def picture_view(features: PictureFeatures) -> View:
    """The view that a contract describes. The first contracts decoded at twice the network's side."""
    size = features.image_size
    least_side = 2 * size if features.least_side is None else features.least_side
    return View(size, features.centre, features.crop == "square", least_side)


def decode_picture(body: bytes, view: View) -> np.ndarray[Any, Any]:
    """Encoded picture -> uint8 (size, size, 3) of the view's region. Raises Unusable."""
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
    """The region that a view shows of a picture: left, top, right, bottom as shares of its sides."""
    with Image.open(io.BytesIO(body), formats=list(FORMATS)) as picture:
        width, height = picture.size
        is_rotated = picture.getexif().get(ORIENTATION, 1) >= 5  # by a quarter turn: width and height are swapped
    return view.region(height, width) if is_rotated else view.region(width, height)


def canonical_picture(body: bytes) -> bytes:
    """Width, height and RGB pixels, upright: equal for the same picture in any file format. Raises Unusable."""
    with _opened(body) as picture:
        # Written in bands into one buffer: otherwise memory would hold two more copies of the pixels.
        canonical = io.BytesIO()
        canonical.write(f"{picture.width}x{picture.height}:".encode())
        for top in range(0, picture.height, BAND_HEIGHT):
            canonical.write(picture.crop((0, top, picture.width, min(top + BAND_HEIGHT, picture.height))).tobytes())
        return canonical.getvalue()
