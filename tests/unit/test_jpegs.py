"""A JPEG is decoded at reduced scale, and a plain one without Pillow, to the same pixels."""

import contextlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from common import pictures
from common.brief import TakesLong, briefly
from common.pictures import ORIENTATION, decode_picture
from flowers import draw, encode

CAT = draw("cat", 1)


def photograph(width, height):
    """Edges, slopes and noise, so that every way of decoding it otherwise shows."""
    generator = np.random.default_rng(width)
    slopes = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[:, :, None] * (1, 2, 3)
    pixels = slopes + generator.integers(0, 90, (height, width, 3)) + 99 * (slopes % 160 > 80)
    return Image.fromarray((pixels % 256).astype(np.uint8))


def by_pillow(body, least):
    with pictures._opened(body, draft=least) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize(("width", "height"), [(160, 120), (79, 203), (640, 480), (17, 33), (1201, 16)])
def test_a_plain_jpeg_has_the_pixels_that_pillow_gives_it(width, height, subsampling):
    for quality, least in ((30, 8), (75, 28), (90, 69), (98, 4000)):
        body = encode(photograph(width, height), "JPEG", quality=quality, subsampling=subsampling)
        plain = pictures._plain_jpeg(body, least)
        assert plain is not None
        assert np.array_equal(np.asarray(plain), by_pillow(body, least))


WHOLE = photograph(160, 120)
FULL = encode(WHOLE, "JPEG", subsampling=0)
AT_FRAME, AT_SCAN = FULL.index(b"\xff\xc0"), FULL.index(b"\xff\xda")


def turned(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def other_byte(at, value):
    return FULL[:at] + bytes([value]) + FULL[at + 1 :]


@pytest.mark.parametrize(
    "body",
    [
        encode(WHOLE, "JPEG", exif=turned(6)),
        encode(WHOLE, "JPEG", xmp=b'<x:xmpmeta tiff:Orientation="3"/>'),
        encode(WHOLE, "JPEG", progressive=True),
        other_byte(AT_FRAME + 1, 0xC3),
        other_byte(AT_SCAN + 4, 1),
        FULL[:2] + FULL[AT_SCAN:],
        FULL[: AT_SCAN + 4],
        encode(WHOLE),
    ],
    ids=["turned", "turned-by-an-editor", "progressive", "lossless", "scan-by-scan", "no-frame", "head-alone", "png"],
)
def test_what_is_no_plain_jpeg_is_shown_to_pillow_alone(monkeypatch, body):
    monkeypatch.setattr(simplejpeg, "decode_jpeg_header", lambda body: pytest.fail("simplejpeg was asked"))
    assert pictures._plain_jpeg(body, 69) is None


@pytest.mark.parametrize(
    "body",
    [
        other_byte(AT_FRAME + 11, 0x14),
        encode(WHOLE.convert("L"), "JPEG"),
        encode(WHOLE.convert("CMYK"), "JPEG"),
        encode(WHOLE, "JPEG", keep_rgb=True),
        encode(photograph(2001, 1000), "JPEG"),
        encode(photograph(160, 15), "JPEG"),
        FULL[:-50],
        FULL[:-2] + 5 * FULL[AT_SCAN:],
    ],
    ids=["4:4:1", "grey", "cmyk", "rgb", "large", "thin", "cut", "more-scans"],
)
def test_a_jpeg_of_another_kind_is_left_to_pillow(body):
    assert pictures._plain_jpeg(body, 69) is None


def test_a_sampling_that_has_no_name_is_decoded_all_the_same():
    assert decode_picture(other_byte(AT_FRAME + 11, 0x14), 16).shape == (16, 16, 3)


def test_a_plain_jpeg_of_many_pixels_is_not_decoded_where_it_must_be_brief():
    for side, long in ((490, False), (510, True)):
        body = encode(photograph(side, side), "JPEG")
        with pytest.raises(TakesLong) if long else contextlib.nullcontext():
            briefly(lambda body: decode_picture(body, 24), body)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_jpeg_that_an_editor_turned_is_answered_as_one_that_a_camera_turned(orientation):
    xmp = f'<x:xmpmeta tiff:Orientation="{orientation}"/>'.encode()
    by_camera = decode_picture(encode(WHOLE, "JPEG", exif=turned(orientation)), 24)
    assert np.array_equal(decode_picture(encode(WHOLE, "JPEG", xmp=xmp), 24), by_camera)
    assert not np.array_equal(decode_picture(encode(WHOLE, "JPEG"), 24), by_camera)


def test_a_large_photograph_decodes_to_what_its_whole_gives():
    large = CAT.resize((1600, 1200), Image.Resampling.BICUBIC)
    quick = decode_picture(encode(large, "JPEG", quality=95), 48).astype(int)
    whole = decode_picture(encode(large), 48).astype(int)
    assert np.abs(quick - whole).mean() < 3


@pytest.mark.parametrize(("side", "scale"), [(170, 2), (159, 2), (150, 1), (650, 8)])
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_keeps_enough(monkeypatch, side, scale):
    body, resized = encode(draw("cat", 1).resize((side, side)), "JPEG"), []
    real = pictures.resize_picture
    monkeypatch.setattr(pictures, "resize_picture", lambda one, *view: resized.append(one.size) or real(one, *view))
    decode_picture(body, 81)
    assert resized == [(-(-side // scale),) * 2]
