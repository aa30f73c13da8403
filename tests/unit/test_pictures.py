"""One decoder for all pictures: the same picture is equal in any file format, and invalid files are refused."""

import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import Unusable
from common.inference import pictures
from common.inference.contract import PictureFeatures
from common.inference.pictures import View, canonical_picture, decode_picture, resize_array, square_view
from conftest import together
from flowers import draw, encode

CAT = draw("cat", 1)
ORIENTATION = 0x0112


def rotated(orientation, *transpositions):
    """A picture stored in another orientation, with the EXIF tag that corrects it."""
    picture = CAT
    for transposition in transpositions:
        picture = picture.transpose(transposition)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(picture, exif=exif)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "GIF", "WEBP"])
def test_the_same_picture_in_another_file_format_is_the_same_example(file_format):
    few_colours = CAT.quantize(16).convert("RGB")
    options = {"lossless": True} if file_format == "WEBP" else {}
    assert canonical_picture(encode(few_colours, file_format, **options)) == canonical_picture(encode(few_colours))


def test_other_pixels_or_another_shape_are_another_example():
    flat = [Image.new("RGB", size, "red") for size in ((40, 30), (30, 40), (20, 60))]
    different = [CAT, draw("cat", 2), CAT.transpose(Image.Transpose.FLIP_LEFT_RIGHT), *flat]
    assert len({canonical_picture(encode(picture)) for picture in different}) == len(different)


@pytest.mark.parametrize(
    ("orientation", "transpositions"),
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
def test_the_exif_orientation_is_applied(orientation, transpositions):
    assert canonical_picture(rotated(orientation, *transpositions)) == canonical_picture(encode(CAT))


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_xmp_orientation_of_an_editor_counts_like_that_of_a_camera(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    xmp = f'<x:xmpmeta tiff:Orientation="{orientation}"/>'.encode()
    with_exif = decode_picture(encode(CAT, "JPEG", exif=exif), square_view(24))
    assert np.array_equal(decode_picture(encode(CAT, "JPEG", xmp=xmp), square_view(24)), with_exif)
    assert not np.array_equal(decode_picture(encode(CAT, "JPEG"), square_view(24)), with_exif)


def test_decoding_at_reduced_scale_gives_nearly_the_same_pixels():
    large = CAT.resize((1600, 1200), Image.Resampling.BICUBIC)
    reduced = decode_picture(encode(large, "JPEG", quality=95), square_view(48)).astype(int)
    whole = decode_picture(encode(large), square_view(48)).astype(int)
    assert np.abs(reduced - whole).mean() < 3


@pytest.mark.parametrize(("side", "scale"), [(170, 2), (159, 2), (150, 1), (650, 8)])
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_keeps_enough_pixels(monkeypatch, side, scale):
    body, resized = encode(CAT.resize((side, side)), "JPEG"), []
    real = pictures.resize_picture
    monkeypatch.setattr(
        pictures, "resize_picture", lambda picture, *view: resized.append(picture.size) or real(picture, *view)
    )
    decode_picture(body, square_view(81))
    assert resized == [(-(-side // scale),) * 2]


def test_damaged_exif_data_do_not_make_a_picture_unreadable():
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x0100] = 6, 40
    body = encode(CAT, "JPEG", exif=exif)
    damaged = body.replace(bytes.fromhex("01000004"), bytes.fromhex("01000002"), 1)  # a width of type text
    assert damaged != body
    assert decode_picture(damaged, square_view(16)).shape == (16, 16, 3)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA"])
def test_every_colour_mode_becomes_rgb(mode):
    file_format = "JPEG" if mode == "CMYK" else "PNG"
    array = decode_picture(encode(CAT.convert(mode), file_format), square_view(32))
    assert (array.shape, array.dtype) == ((32, 32, 3), np.uint8)


def test_grey_and_cmyk_keep_their_colours():
    grey = decode_picture(encode(Image.new("L", (40, 40), 200)), square_view(32))
    assert (grey == 200).all()
    printed = decode_picture(encode(Image.new("RGB", (40, 40), "red").convert("CMYK"), "JPEG"), square_view(32))
    assert np.abs(printed.astype(int) - (255, 0, 0)).max() < 12


def test_transparent_pixels_become_white():
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert (decode_picture(encode(clear), square_view(32)) == 255).all()
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([10, 20, 30])
    assert (decode_picture(encode(palette, transparency=0), square_view(32)) == 255).all()


def test_sixteen_bit_pictures_become_eight_bit():
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
    ids=["empty", "text", "header-only", "truncated-png", "truncated-jpeg", "svg", "tiff", "ppm"],
)
def test_a_file_that_is_not_a_complete_picture_of_a_known_type_is_refused(body):
    for read in (canonical_picture, lambda body: decode_picture(body, square_view(32))):
        with pytest.raises(Unusable, match="can't be read as a picture of type JPEG, PNG"):
            read(body)


@pytest.mark.parametrize(
    ("size", "message"),
    [((8000, 7000), r"56 megapixels \(8000 x 7000\); a PNG may have at most 16$"), ((20_000, 20_000), "picture")],
)
def test_too_many_pixels_are_refused_before_decoding(size, message):
    file = io.BytesIO()
    Image.new("1", size).save(file, "PNG")
    assert len(file.getvalue()) < 200_000
    with pytest.raises(Unusable, match=message):
        decode_picture(file.getvalue(), square_view(32))


def gradient(mode, size):
    return Image.linear_gradient("L").resize(size).convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_blending_in_bands_equals_blending_the_whole_picture(mode):
    picture = gradient("RGB", (300, 700)).convert(mode)
    picture.putalpha(gradient("L", (300, 700)).transpose(Image.Transpose.ROTATE_180))
    whole = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")).convert("RGB")
    assert canonical_picture(encode(picture)) == b"300x700:" + whole.tobytes()


MEMORY = """
import resource, sys
from common.inference.pictures import canonical_picture, decode_picture, square_view
body = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode_picture(body, square_view(96)) if sys.argv[2] == "decode" else canonical_picture(body)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize(
    ("read", "file_format", "mode", "size", "max_mb"),
    [
        ("decode", "PNG", "RGBA", (4000, 4000), 170),  # a file of 80 kB
        ("decode", "PNG", "RGB", (4000, 4000), 90),
        ("decode", "WEBP", "RGBA", (4000, 4000), 300),
        ("decode", "JPEG", "CMYK", (4000, 4000), 150),  # progressive
        ("hash", "JPEG", "RGB", (8160, 6144), 420),
        ("hash", "WEBP", "RGB", (4000, 4000), 300),
    ],
)
def test_memory_for_a_picture_stays_within_the_limit_of_a_function(tmp_path, read, file_format, mode, size, max_mb):
    file = tmp_path / "picture"
    options = {"progressive": True} if file_format == "JPEG" and read == "decode" else {}
    options |= {"method": 0} if file_format == "WEBP" else {}
    gradient(mode, size).save(file, file_format, **options)
    functions = Path(__file__).parents[2] / "functions"
    command = [sys.executable, "-c", MEMORY, str(file), read]
    done = subprocess.run(command, env={"PYTHONPATH": str(functions)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < max_mb


def test_progressive_jpegs_have_a_lower_limit_of_pixels():
    body = encode(gradient("RGB", (6000, 3000)), "JPEG", progressive=True)
    with pytest.raises(Unusable, match=r"18 megapixels .* a progressive or multi-scan JPEG may have at most 16$"):
        decode_picture(body, square_view(32))


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch):
    running = highest = 0
    guard = threading.Lock()

    def counting(picture, *view):
        nonlocal running, highest
        with guard:
            running += 1
            highest = max(highest, running)
        time.sleep(0.05)
        with guard:
            running -= 1

    monkeypatch.setattr(pictures, "resize_picture", counting)
    body = encode(gradient("RGB", (2000, 1500)))
    together(*[lambda: pictures.decode_picture(body, square_view(32))] * 4)
    assert highest == 1


def test_importing_the_module_opens_no_file():
    script = """
import os
import common.inference.pictures
before = len(os.listdir("/proc/self/fd"))
exec(open(common.inference.pictures.__file__).read(), {"__name__": "copy"})
print(len(os.listdir("/proc/self/fd")) - before)
"""
    environment = {"PYTHONPATH": str(Path(pictures.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr


def test_contracts_of_earlier_versions_keep_their_view():
    first, second = PictureFeatures(image_size=81), PictureFeatures(image_size=73, centre=7 / 8, least_side=79)
    assert pictures.picture_view(first) == View(81, 1.0, False, 162)
    assert pictures.picture_view(second) == View(73, 7 / 8, False, 79)
    assert pictures.picture_view(pictures.view_features(square_view(160))) == View(160, 1.0, True, 152)


@pytest.mark.parametrize("view", [View(24), View(24, 0.75), View(24, 0.75, square=False)])
def test_pixels_and_files_of_one_picture_are_resized_alike(view):
    wide = CAT.resize((120, 60))
    assert (resize_array(np.asarray(wide), view) == decode_picture(encode(wide), view)).all()


def test_a_squeezed_view_shows_the_centre_of_both_sides():
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[8:56, 16:112] = 200
    whole, centre = (
        decode_picture(encode(Image.fromarray(pixels)), View(24, share, square=False)) for share in (1.0, 0.75)
    )
    assert (whole[0] == 0).all()
    assert (centre[1:-1, 1:-1] == 200).all()


@pytest.mark.parametrize("tall", [False, True])
def test_a_square_view_shows_the_central_square_in_its_proportions(tall):
    pixels = np.zeros((64, 256, 3), np.uint8)
    pixels[:, 96:160] = 200
    pixels = pixels.transpose(1, 0, 2) if tall else pixels
    assert (decode_picture(encode(Image.fromarray(pixels)), square_view(24))[1:-1, 1:-1] == 200).all()
