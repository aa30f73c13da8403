"""One decoder for every picture: whatever the file, equal pictures are equal, and what is none is told."""

import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common import pictures
from common.errors import Unusable
from common.pictures import View, canonical_picture, decode_picture, resize_array, square_view
from conftest import together
from flowers import draw, encode

CAT = draw("cat", 1)
ORIENTATION = 0x0112


def turned(orientation, *turns):
    """A picture stored turned, with the tag that tells how to hold it."""
    picture = CAT
    for turn in turns:
        picture = picture.transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(picture, exif=exif)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP"])
def test_the_same_picture_in_another_file_is_the_same_example(kind):
    few_colours = CAT.quantize(16).convert("RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    assert canonical_picture(encode(few_colours, kind, **options)) == canonical_picture(encode(few_colours))


def test_another_picture_or_another_shape_is_another_example():
    flat = [Image.new("RGB", size, "red") for size in ((40, 30), (30, 40), (20, 60))]
    pictures = [CAT, draw("cat", 2), CAT.transpose(Image.Transpose.FLIP_LEFT_RIGHT), *flat]
    assert len({canonical_picture(encode(picture)) for picture in pictures}) == len(pictures)


@pytest.mark.parametrize(
    ("orientation", "turns"),
    [
        (2, [Image.Transpose.FLIP_LEFT_RIGHT]),
        (3, [Image.Transpose.ROTATE_180]),
        (4, [Image.Transpose.FLIP_TOP_BOTTOM]),
        (5, [Image.Transpose.TRANSPOSE]),
        (6, [Image.Transpose.ROTATE_90]),
        (7, [Image.Transpose.TRANSVERSE]),
        (8, [Image.Transpose.ROTATE_270]),
    ],
)
def test_a_picture_is_held_as_its_camera_said(orientation, turns):
    assert canonical_picture(turned(orientation, *turns)) == canonical_picture(encode(CAT))


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_jpeg_that_an_editor_turned_is_answered_as_one_that_a_camera_turned(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    xmp = f'<x:xmpmeta tiff:Orientation="{orientation}"/>'.encode()
    by_camera = decode_picture(encode(CAT, "JPEG", exif=exif), square_view(24))
    assert np.array_equal(decode_picture(encode(CAT, "JPEG", xmp=xmp), square_view(24)), by_camera)
    assert not np.array_equal(decode_picture(encode(CAT, "JPEG"), square_view(24)), by_camera)


def test_a_large_photograph_decodes_to_what_its_whole_gives():
    large = CAT.resize((1600, 1200), Image.Resampling.BICUBIC)
    reduced = decode_picture(encode(large, "JPEG", quality=95), square_view(48)).astype(int)
    whole = decode_picture(encode(large), square_view(48)).astype(int)
    assert np.abs(reduced - whole).mean() < 3


@pytest.mark.parametrize(("side", "scale"), [(170, 2), (159, 2), (150, 1), (650, 8)])
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_keeps_enough(monkeypatch, side, scale):
    body, resized = encode(CAT.resize((side, side)), "JPEG"), []
    real = pictures.resize_picture
    monkeypatch.setattr(
        pictures, "resize_picture", lambda picture, *view: resized.append(picture.size) or real(picture, *view)
    )
    decode_picture(body, square_view(81))
    assert resized == [(-(-side // scale),) * 2]


def test_a_broken_camera_note_does_not_spoil_the_picture():
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x0100] = 6, 40
    body = encode(CAT, "JPEG", exif=exif)
    broken = body.replace(bytes.fromhex("01000004"), bytes.fromhex("01000002"), 1)  # a width that is a text
    assert broken != body
    assert decode_picture(broken, square_view(16)).shape == (16, 16, 3)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA"])
def test_every_mode_becomes_three_colours(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    array = decode_picture(encode(CAT.convert(mode), kind), square_view(32))
    assert (array.shape, array.dtype) == ((32, 32, 3), np.uint8)


def test_grey_and_cmyk_keep_their_look():
    grey = decode_picture(encode(Image.new("L", (40, 40), 200)), square_view(32))
    assert (grey == 200).all()
    printed = decode_picture(encode(Image.new("RGB", (40, 40), "red").convert("CMYK"), "JPEG"), square_view(32))
    assert np.abs(printed.astype(int) - (255, 0, 0)).max() < 12


def test_what_is_transparent_becomes_white():
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert (decode_picture(encode(clear), square_view(32)) == 255).all()
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([10, 20, 30])
    assert (decode_picture(encode(palette, transparency=0), square_view(32)) == 255).all()


def test_sixteen_bits_become_eight():
    values = np.full((40, 40), 200 * 257, dtype=np.uint16)
    assert (decode_picture(encode(Image.fromarray(values)), square_view(32)) == 200).all()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"just a text, whatever its name says\n" * 50,
        b"\x89PNG\r\n\x1a\n",
        encode(CAT)[:-200],
        encode(CAT, "JPEG")[:300],
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        encode(CAT, "TIFF"),
        encode(CAT, "PPM"),
    ],
    ids=["nothing", "text", "head-alone", "cut-png", "cut-jpeg", "svg", "tiff", "ppm"],
)
def test_what_is_no_whole_picture_of_a_known_type_is_told(body):
    for read in (canonical_picture, lambda body: decode_picture(body, square_view(32))):
        with pytest.raises(Unusable, match="not a whole picture of type JPEG, PNG"):
            read(body)


@pytest.mark.parametrize(("size", "told"), [((8000, 7000), "8000 x 7000 pixels"), ((20_000, 20_000), "picture")])
def test_too_many_pixels_are_refused_before_they_are_read(size, told):
    file = io.BytesIO()
    Image.new("1", size).save(file, "PNG")
    assert len(file.getvalue()) < 200_000
    with pytest.raises(Unusable, match=told):
        decode_picture(file.getvalue(), square_view(32))


def gradient(mode, size):
    return Image.linear_gradient("L").resize(size).convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_transparent_picture_is_the_same_in_bands_as_whole(mode):
    picture = gradient("RGB", (300, 700)).convert(mode)
    picture.putalpha(gradient("L", (300, 700)).transpose(Image.Transpose.ROTATE_180))
    whole = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")).convert("RGB")
    assert canonical_picture(encode(picture)) == b"300x700:" + whole.tobytes()


MEMORY = """
import resource, sys
from common.pictures import canonical_picture, decode_picture, square_view
body = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode_picture(body, square_view(96)) if sys.argv[2] == "decode" else canonical_picture(body)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize(
    ("read", "kind", "mode", "size", "most"),
    [
        ("decode", "PNG", "RGBA", (4000, 3000), 130),  # a file of 50 kB
        ("decode", "PNG", "RGB", (4000, 3000), 80),
        ("decode", "JPEG", "RGB", (4600, 3400), 130),  # progressive
        ("hash", "JPEG", "RGB", (8000, 6200), 550),
    ],
)
def test_no_picture_takes_more_memory_than_a_function_has(tmp_path, read, kind, mode, size, most):
    file = tmp_path / "picture"
    options = {"progressive": True} if kind == "JPEG" and read == "decode" else {}
    gradient(mode, size).save(file, kind, **options)
    functions = Path(__file__).parents[2] / "functions"
    command = [sys.executable, "-c", MEMORY, str(file), read]
    done = subprocess.run(command, env={"PYTHONPATH": str(functions)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < most


def test_a_progressive_photograph_may_not_be_as_large_as_another():
    body = encode(gradient("RGB", (6000, 3000)), "JPEG", progressive=True)
    with pytest.raises(Unusable, match="16,000,000 are the most"):
        decode_picture(body, square_view(32))


def test_large_pictures_are_decoded_one_after_another(monkeypatch):
    at_once = most = 0
    guard = threading.Lock()

    def counting(picture, *view):
        nonlocal at_once, most
        with guard:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)
        with guard:
            at_once -= 1

    monkeypatch.setattr(pictures, "resize_picture", counting)
    body = encode(gradient("RGB", (2000, 1500)))
    together(*[lambda: pictures.decode_picture(body, square_view(32))] * 4)
    assert most == 1


def test_reading_the_module_opens_nothing():
    script = """
import os
import common.pictures
before = len(os.listdir("/proc/self/fd"))
exec(open(common.pictures.__file__).read(), {"__name__": "copy"})
print(len(os.listdir("/proc/self/fd")) - before)
"""
    environment = {"PYTHONPATH": str(Path(pictures.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr


def test_a_version_from_before_sees_pictures_as_it_did():
    assert pictures.picture_view({"image_size": 81}) == View(81, 1.0, False, 162)
    assert pictures.picture_view({"image_size": 73, "centre": 7 / 8, "least_side": 79}) == View(73, 7 / 8, False, 79)
    assert pictures.picture_view(pictures.view_features(square_view(160))) == View(160, 1.0, True, 152)


@pytest.mark.parametrize("view", [View(24), View(24, 0.75), View(24, 0.75, square=False)])
def test_pixels_and_files_of_one_picture_are_resized_alike(view):
    wide = CAT.resize((120, 60))
    assert (resize_array(np.asarray(wide), view) == decode_picture(encode(wide), view)).all()


def test_of_a_squeezed_picture_the_middle_of_both_sides_is_seen():
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[8:56, 16:112] = 200
    whole, middle = (
        decode_picture(encode(Image.fromarray(pixels)), View(24, centre, square=False)) for centre in (1.0, 0.75)
    )
    assert (whole[0] == 0).all()
    assert (middle[1:-1, 1:-1] == 200).all()


@pytest.mark.parametrize("turned", [False, True])
def test_of_a_wide_or_tall_picture_the_square_in_the_middle_is_seen_in_its_proportions(turned):
    pixels = np.zeros((64, 256, 3), np.uint8)
    pixels[:, 96:160] = 200
    pixels = pixels.transpose(1, 0, 2) if turned else pixels
    assert (decode_picture(encode(Image.fromarray(pixels)), square_view(24))[1:-1, 1:-1] == 200).all()
