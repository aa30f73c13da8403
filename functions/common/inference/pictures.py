"""Decodes pictures with Pillow. fetch-batch, train and classify share this decoder."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from common.errors import Unusable
from common.inference.contract import PictureFeatures
from common.inference.picture_files import DEFAULT_LIMITS, PictureFile, PictureLimits, damaged, read_picture

# Larger pictures are decoded one at a time, across all threads: a function has little memory.
LARGE_PIXELS = 2_000_000
BAND_HEIGHT = 256
# A JPEG is decoded at the smallest scale (1, 1/2, 1/4, 1/8) that keeps this share of the needed side: answers are as
# good as from larger scales (docs/decisions/jpegs-decoded-at-reduced-scale.md).
MIN_SIDE_SHARE = 0.95

# By EXIF orientation.
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


def is_large(file: PictureFile) -> bool:
    """Whether decoding it to a view takes much memory."""
    return file.whole and file.cost > LARGE_PIXELS


@contextlib.contextmanager
def _opened(file: PictureFile, draft: int = 0) -> Iterator[Image.Image]:
    """The stored pixels, not yet upright, in the file's colour mode. `draft`: the least side to decode a JPEG at, 0 for
    its full size.

    Raises Unusable if it can't be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture: Image.Image = Image.open(io.BytesIO(file.pixels), formats=[file.format])
            if picture.width * picture.height > file.width * file.height:
                raise damaged("it has two sizes")
            if draft:
                picture.draft("RGB", (draft, draft))
            is_decoded_large = picture.width * picture.height > LARGE_PIXELS
            with _large_picture_lock if is_large(file) or is_decoded_large else contextlib.nullcontext():
                picture.load()
                yield picture
    except Unusable:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise damaged("its format is unknown" if isinstance(error, UnidentifiedImageError) else str(error)) from None


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert grey, palette, CMYK and 16-bit pictures to RGB; transparent areas become white.

    In bands: all at once, it would take five times the picture's memory.
    """
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    convert = _converter(picture)
    rgb = Image.new("RGB", picture.size)
    for top in range(0, picture.height, BAND_HEIGHT):
        rgb.paste(convert(picture.crop((0, top, picture.width, min(top + BAND_HEIGHT, picture.height)))), (0, top))
    return rgb


def _converter(picture: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Converts a part of the picture to RGB. What the whole picture decides is decided here."""
    if picture.mode.startswith("I"):
        # A 16-bit file may hold values of 8 bits.
        divisor = 257 if np.max(picture.getextrema()) > 255 else 1
        return lambda part: Image.fromarray((np.asarray(part) // divisor).astype(np.uint8)).convert("RGB")
    alpha_is_meant = not (picture.format == "BMP" and picture.mode == "RGBA" and picture.getextrema()[-1] == (0, 0))
    if alpha_is_meant and (picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info):
        return _on_white
    return lambda part: part.convert("RGB")


def _on_white(part: Image.Image) -> Image.Image:
    rgba = part.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


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


def decode_picture(body: bytes, view: View, limits: PictureLimits | None = DEFAULT_LIMITS) -> np.ndarray[Any, Any]:
    """Encoded picture -> uint8 (size, size, 3) of the view's region, upright. `limits`: see read_picture.

    Raises Unusable.
    """
    file = read_picture(body, limits)
    with _opened(file, draft=view.least_side or view.size) as picture:
        pixels = resize_picture(_rgb(picture), view)
    if file.orientation == 1:
        return pixels
    # The region is in the middle, so that it is the same before and after.
    return np.asarray(Image.fromarray(pixels).transpose(TRANSPOSITIONS[file.orientation]))


def resize_picture(picture: Image.Image, view: View) -> np.ndarray[Any, Any]:
    left, top, right, bottom = view.region(picture.width, picture.height)
    box = (picture.width * left, picture.height * top, picture.width * right, picture.height * bottom)
    size = (view.size, view.size)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box, reducing_gap=2.0), dtype=np.uint8)


def resize_array(array: np.ndarray[Any, Any], view: View) -> np.ndarray[Any, Any]:
    """Pixels uint8 (h, w, 3) -> uint8 (size, size, 3)."""
    return resize_picture(Image.fromarray(np.ascontiguousarray(array, dtype=np.uint8), "RGB"), view)


def seen_region(body: bytes, view: View) -> tuple[float, float, float, float]:
    """The region that a view shows of an upright picture: left, top, right, bottom as shares of its sides."""
    file = read_picture(body, None)
    is_turned = file.orientation >= 5
    return view.region(file.height, file.width) if is_turned else view.region(file.width, file.height)


def canonical_picture(body: bytes, limits: PictureLimits | None = DEFAULT_LIMITS) -> bytes:
    """Width, height and RGB pixels, upright: equal for the same picture in any file format. `limits`: see read_picture.

    Raises Unusable.
    """
    file = read_picture(body, limits)
    transposition = TRANSPOSITIONS.get(file.orientation)
    is_turned, from_end = file.orientation >= 5, file.orientation in (3, 4, 7, 8)
    with _opened(file) as picture:
        convert = _converter(picture)
        width, height = (picture.height, picture.width) if is_turned else picture.size
        # Turned and written in bands into one buffer: memory would else hold three more copies of the pixels.
        canonical = io.BytesIO()
        canonical.write(f"{width}x{height}:".encode())
        for top in range(0, height, BAND_HEIGHT):
            first, last = top, min(top + BAND_HEIGHT, height)
            if from_end:
                first, last = height - last, height - first
            box = (first, 0, last, picture.height) if is_turned else (0, first, picture.width, last)
            band = convert(picture.crop(box))
            canonical.write((band if transposition is None else band.transpose(transposition)).tobytes())
        return canonical.getvalue()
