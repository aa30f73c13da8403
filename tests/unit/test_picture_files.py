"""What a picture file will cost is known before it is decoded; metadata neither cost nor break anything."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from common.errors import Unusable
from common.inference.picture_files import MAX_PARTS, PictureLimits, read_picture
from common.inference.pictures import canonical_picture, decode_picture, square_view
from costly_pictures import (
    animated_webp,
    bmp,
    chunk,
    end_of_band_scans,
    exif,
    gif,
    jpeg,
    png,
    segment,
    webp_of_tables,
)
from flowers import draw, encode
from mutated_pictures import check_decoders

CAT = draw("cat", 1)
VIEW = square_view(32)
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP"]


def is_like(body, picture=CAT):
    """Whether a file shows the picture, as far as JPEG and palettes are exact."""
    expected = decode_picture(encode(picture), VIEW, None).astype(int)
    return np.abs(decode_picture(body, VIEW).astype(int) - expected).mean() < 8


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_header_gives_the_size_in_every_format(file_format):
    file = read_picture(encode(CAT.resize((70, 50)), file_format))
    assert (file.format, file.width, file.height, file.orientation) == (file_format, 70, 50, 1)


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}, {"save_all": True}, {"exif": exif(6)}])
def test_every_kind_of_webp_has_its_size(options):
    file = read_picture(encode(CAT.resize((70, 50)), "WEBP", **options))
    assert (file.width, file.height, file.orientation) == (70, 50, 6 if "exif" in options else 1)


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_beginning_of_a_file_is_a_picture_or_unusable(file_format):
    body = encode(CAT, file_format)
    for length in range(min(len(body) // 2, 700)):
        with pytest.raises(Unusable, match="can't be read as a picture"):
            decode_picture(body[:length], VIEW)


def test_every_damaged_file_is_a_picture_or_unusable():
    check_decoders(seed=1, count=1000)


def test_a_jpeg_of_one_scan_may_have_52_megapixels_and_a_progressive_one_16():
    assert not read_picture(jpeg(8160, 6144)).whole  # 50.1, as phones take them
    with pytest.raises(Unusable, match=r"64.2 megapixels \(9248 x 6944\); a JPEG may have at most 52$"):
        read_picture(jpeg(9248, 6944))
    assert read_picture(jpeg(4000, 4000, progressive=True)).whole
    with pytest.raises(Unusable, match=r"24 megapixels .* a progressive or multi-scan JPEG may have at most 16$"):
        read_picture(jpeg(6000, 4000, progressive=True))


def test_a_baseline_jpeg_with_a_scan_for_each_component_is_decoded_whole():
    scans = [([number], 0, 63) for number in (1, 2, 3, 4)]
    assert read_picture(jpeg(2000, 2000, 4, scans=scans)).passes == 4
    with pytest.raises(Unusable, match=r"49 megapixels .* multi-scan JPEG"):
        read_picture(jpeg(7000, 7000, 4, scans=scans))


def test_the_scans_of_a_jpeg_are_counted():
    assert read_picture(end_of_band_scans(100, 100, 200)).work == 100 * 100 * 201
    with pytest.raises(Unusable, match=r"takes 2,214 megapixels of decoding, 2214 passes over 1000 x 1000"):
        read_picture(end_of_band_scans(1000, 1000, 2213))


def test_a_thumbnail_is_no_scan_and_none_of_the_pixels():
    thumbnail = segment(0xE1, b"Exif\0\0" + exif(1) + encode(CAT, "JPEG"))
    file = read_picture(jpeg(8000, 6000, extra=thumbnail))
    assert (file.whole, file.width, file.height) == (False, 8000, 6000)


@pytest.mark.parametrize(("bits", "megapixels"), [(8, 1.3), (4, 1.3)])
def test_run_length_encoding_is_limited_by_its_own_cost(bits, megapixels):
    with pytest.raises(Unusable, match="200 passes"):
        read_picture(bmp(2000, 2000, bits, compression=2 if bits == 4 else 1, data=b""))
    assert read_picture(bmp(1000, 1000, bits, 1, data=b"")).work == 200_000_000


def test_runs_of_no_pixels_are_cut_off():
    body = bmp(40, 30, 8, 1, data=(b"\x28\x05\0\0" * 30) + b"\x01\x00" * 5_000_000)
    assert len(read_picture(body).pixels) < 310_000
    assert decode_picture(body, VIEW).shape == (32, 32, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xd8" + b"\xff\xfe\0\x02" * 5_001 + jpeg(8, 8)[2:],
        b"\xff\xd8" + b"\xff" * 5_001 + jpeg(8, 8)[2:],
        png(8, 8, 2, 8, extra=chunk(b"teSt", b"") * (MAX_PARTS + 1)),
        gif(8, 8, comment=b"")[:-1].replace(b"\x21\xf9", b"\x21\xfe" + b"\x01x" * (MAX_PARTS + 1) + b"\0\x21\xf9", 1),
        encode(CAT, "WEBP", exif=exif(1))[:30] + b"ABCD\0\0\0\0" * (MAX_PARTS + 1),
    ],
    ids=["jpeg-comments", "jpeg-fill", "png-chunks", "gif-blocks", "webp-chunks"],
)
def test_a_file_of_very_many_parts_is_refused(body):
    with pytest.raises(Unusable, match=r"more than [\d,]+ parts"):
        read_picture(body)


@pytest.mark.parametrize("marker", [0x02, 0xBF, 0xC8, 0xDE, 0xDF, *range(0xF0, 0xFE)])
def test_a_segment_that_decoders_do_not_skip_is_refused(marker):
    with pytest.raises(Unusable, match="segment of an unknown type"):
        read_picture(jpeg(8, 8, extra=segment(marker, jpeg(7000, 7000)[2:700])))


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("marker", [0xC0, 0xDB, 0xE0, 0xFE])
def test_a_segment_without_a_length_is_refused(marker, length):
    """A decoder would take the next segments for its content."""
    with pytest.raises(Unusable, match="without a length"):
        read_picture(jpeg(8, 8, extra=bytes([0xFF, marker, 0, length])))


def test_a_header_of_a_png_with_another_length_is_refused():
    body = png(8, 8, 2, 8)
    long = body[:8] + chunk(b"IHDR", body[16:29] + chunk(b"IHDR", struct.pack(">II", 9000, 9000) + body[24:29]))
    with pytest.raises(Unusable, match="does not begin with a header"):
        read_picture(long + body[33:])


def test_a_picture_without_pixels_is_refused():
    for body in (jpeg(0, 8), png(8, 0, 2, 8), bmp(0, 8, 24)):
        with pytest.raises(Unusable, match="has no pixels"):
            read_picture(body)


def test_a_file_that_the_decoder_reads_as_a_larger_picture_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # Pillow's own limit is far above ours
    body = bytearray(bmp(40, 30, 24))
    body[18:22] = struct.pack("<i", -40)  # Pillow reads an unsigned number
    with pytest.raises(Unusable, match="it has two sizes"):
        decode_picture(bytes(body), VIEW)


def test_metadata_reach_no_decoder():
    """EXIF tags that share their bytes, comments in pieces, profiles that unpack: Pillow would read them all."""
    noise = bytes(range(256)) * 200
    for body in (
        jpeg(8, 8, extra=segment(0xE1, b"Exif\0\0" + noise) + segment(0xE2, b"MPF\0" + noise) + segment(0xFE, noise)),
        png(8, 8, 2, 8, extra=chunk(b"iCCP", noise) + chunk(b"tEXt", noise) + chunk(b"acTL", noise)),
        gif(8, 8, comment=noise),
    ):
        assert len(read_picture(body).pixels) < 2000


@pytest.mark.parametrize("size", [(4592, 3448), (5600, 4200)])
def test_the_pictures_of_a_phone_with_a_preview_pass_like_the_jpeg_inside(size):
    file = io.BytesIO()
    gradient = Image.linear_gradient("L").resize(size).convert("RGB")
    gradient.save(file, "MPO", save_all=True, append_images=[gradient.resize((400, 300))])
    assert Image.open(io.BytesIO(file.getvalue())).format == "MPO"
    assert is_like(file.getvalue(), gradient)


BROKEN_EXIF = [b"II*\0\x08\0", b"MM", b"no TIFF at all", b"II+\0\x08\0\0\0\x10", b"II*\0\xff\xff\xff\xff", exif(6)[:18]]


@pytest.mark.parametrize("broken", BROKEN_EXIF)
def test_a_broken_exif_does_not_make_a_picture_unreadable(broken):
    for body in (
        encode(CAT, "PNG", exif=broken),
        encode(CAT, "JPEG", exif=b"Exif\0\0" + broken, dpi=(72, 72), quality=95),
        encode(CAT, "WEBP", exif=broken, quality=95),
    ):
        assert is_like(body)
        assert canonical_picture(body)


def many_tags(count, size=60_000):
    """An EXIF directory of tags that all point at the same bytes."""
    tags = b"".join(struct.pack("<HHII", number, 1, size, 8) for number in range(0x0200, 0x0200 + count))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", count) + tags + bytes(size)


def test_tags_that_share_their_bytes_are_not_copied():
    body = encode(CAT, "PNG")
    body = body[:33] + chunk(b"eXIf", many_tags(60_000, 5_000_000)) + body[33:]
    before = time.process_time()
    assert is_like(body)
    assert time.process_time() - before < 20  # it would be 300 GB


@pytest.mark.parametrize("name", ["text", "itext", "profile", "texts"])
def test_large_texts_and_profiles_do_not_make_a_png_unreadable(name):
    info, options = PngImagePlugin.PngInfo(), {}
    if name == "text":
        info.add_text("Comment", "x" * 2_000_000, zip=True)
    elif name == "itext":
        info.add_itxt("Comment", "x" * 2_000_000, zip=True)
    elif name == "texts":
        for number in range(70):
            info.add_text(f"Comment{number}", "x" * 1_000_000, zip=True)
    else:
        options["icc_profile"] = bytes(2_000_000)
    assert is_like(encode(CAT, "PNG", pnginfo=info, **options))


def test_a_png_whose_texts_are_broken_is_read():
    body = encode(CAT, "PNG")
    assert is_like(body[:33] + chunk(b"zTXt", b"key\0\x07broken") + chunk(b"iCCP", b"x\0\x09") + body[33:])


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("where", ["png", "jpeg", "webp"])
def test_the_orientation_is_read_from_every_format(where, orientation):
    body = {
        "png": lambda: encode(CAT, "PNG", exif=exif(orientation)),
        "jpeg": lambda: encode(CAT, "JPEG", exif=b"Exif\0\0" + exif(orientation)),
        "webp": lambda: encode(CAT, "WEBP", exif=exif(orientation)),
    }[where]()
    assert read_picture(body).orientation == orientation


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_the_orientation_may_be_written_in_either_byte_order_as_short_or_long(order, kind):
    value = struct.pack(f"{order}{'HH' if kind == 3 else 'I'}", *((6, 0) if kind == 3 else (6,)))
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, 1)
    body = encode(CAT, "PNG", exif=start + struct.pack(f"{order}HHI", 0x0112, kind, 1) + value)
    assert read_picture(body).orientation == 6


@pytest.mark.parametrize("size", [(300, 530), (530, 300)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_in_bands_equals_turning_the_whole_picture(size, orientation):
    """By Pillow's own means, on a picture higher than a band."""
    picture = draw("dog", 3, size)
    turned = Image.open(io.BytesIO(encode(picture, "PNG", exif=exif(orientation))))
    turned.load()
    upright = ImageOps.exif_transpose(turned)
    expected = f"{upright.width}x{upright.height}:".encode() + upright.convert("RGB").tobytes()
    assert canonical_picture(encode(picture, "PNG", exif=exif(orientation))) == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_view_of_a_turned_picture_is_that_of_the_upright_one(orientation):
    picture = draw("dog", 3, (128, 96))
    turned = encode(picture, "PNG", exif=exif(orientation))
    upright = canonical_picture(turned)
    size, pixels = upright.split(b":", 1)
    width, height = map(int, size.split(b"x"))
    expected = decode_picture(encode(Image.frombytes("RGB", (width, height), pixels)), VIEW)
    assert np.abs(decode_picture(turned, VIEW).astype(int) - expected.astype(int)).max() <= 2


def test_a_bmp_whose_alpha_is_zero_everywhere_shows_its_colours():
    row = b"".join(struct.pack("BBBB", 10, 20, 200, 0) for _ in range(40))
    assert (decode_picture(bmp(40, 40, 32, data=row * 40), VIEW) == (200, 20, 10)).all()
    seen = row[:-4] + struct.pack("BBBB", 10, 20, 200, 255)
    assert (decode_picture(bmp(40, 40, 32, data=seen * 40), VIEW)[:, 0] == 255).all()  # here alpha is meant


@pytest.mark.parametrize(("top", "expected"), [(65535, 255), (200, 200), (255, 255), (30_000, 116)])
def test_sixteen_bits_become_eight_by_integers(top, expected):
    values = np.zeros((300, 40), np.uint16)
    values[100:] = top
    assert decode_picture(encode(Image.fromarray(values)), square_view(8))[-1, 0, 0] == expected


def test_only_the_first_frame_counts():
    assert is_like(animated_webp(60, 60), Image.new("RGB", (60, 60), "red"))
    frames = [Image.new("RGB", (60, 60), colour) for colour in ("red", "blue")]
    for file_format in ("GIF", "PNG", "WEBP"):
        body = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
        assert is_like(body, frames[0]), file_format


def test_a_png_is_not_read_by_a_second_header():
    body = png(8, 8, 2, 8, extra=chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)))
    assert decode_picture(body, VIEW).shape == (32, 32, 3)
    with pytest.raises(Unusable, match="does not begin with a header"):
        read_picture(body[:8] + chunk(b"CgBI", b"") + body[8:])


def test_pixels_that_unpack_to_more_than_the_picture_are_left():
    pixels = zlib.compress(bytes(1000) * 200_000, 9)
    body = png(8, 8, 2, 8)
    at = body.index(b"IDAT") - 4
    assert decode_picture(body[:at] + chunk(b"IDAT", pixels) + chunk(b"IEND", b""), VIEW).shape == (32, 32, 3)


def test_limits_are_settings():
    small = PictureLimits(max_megapixels=0.001)
    with pytest.raises(Unusable, match=r"0.0016 megapixels \(40 x 40\); a PNG may have at most 0.001"):
        read_picture(encode(Image.new("RGB", (40, 40))), small)
    assert read_picture(jpeg(30_000, 30_000), None).width == 30_000


def test_a_narrow_jpeg_costs_more_for_it_can_t_be_reduced():
    for size, passes, whole in [
        ((8160, 6144), 1, False),
        ((16_000, 2_500), 1, False),
        ((1280, 960), 2, False),
        ((800, 600), 4, False),
        ((300, 200), 8, False),
        ((40_000, 200), 8, True),
    ]:
        file = read_picture(jpeg(*size, 1))
        assert (file.passes, file.whole) == (passes, whole), size
    with pytest.raises(Unusable, match=r"19.8 megapixels \(65500 x 303\)"):
        read_picture(jpeg(65_500, 303, 4))


def test_a_lossless_or_transparent_webp_costs_memory_for_its_code_tables():
    photo, noise = (800, 600), Image.effect_noise((800, 600), 99).convert("RGB")
    veiled = noise.copy()
    veiled.putalpha(Image.effect_noise(photo, 99))
    assert read_picture(encode(noise, "WEBP", quality=90)).tables == 0
    for picture, options in ((noise, {"lossless": True}), (veiled, {"quality": 10, "exif": exif(1)})):
        with pytest.raises(Unusable, match=r"transparent WebP of [\d,]+ bytes and 800 x 600 pixels, may"):
            read_picture(encode(picture, "WEBP", **options))
    assert read_picture(encode(veiled.resize((400, 300)), "WEBP", lossless=True)).tables == 75 * 400 * 300
    sticker = Image.new("RGBA", photo)
    sticker.paste(noise, (200, 200))
    assert 0 < read_picture(encode(sticker, "WEBP", quality=90)).tables < 1_000_000


def test_the_costliest_frame_of_a_webp_counts():
    """libwebp leaves out frames without a picture: any may be the first."""

    def animation(*frames):
        header = struct.pack("<4sIB3x", b"VP8X", 10, 2) + (1023).to_bytes(3, "little") * 2
        chunks = [struct.pack("<4sI16x", b"ANMF", 16 + len(frame)) + frame for frame in frames]
        return b"RIFF\0\0\0\0WEBP" + header + b"".join(chunks)

    small, large = webp_of_tables(256)[12:], webp_of_tables(1024)[12:]
    assert read_picture(animation(small, small, small)).tables == 80 * (len(small) - 8)
    with pytest.raises(Unusable, match=r"may need the memory of 24\.65 megapixels"):
        read_picture(animation(b"", small, large))


def test_a_side_is_limited_since_each_row_takes_memory():
    with pytest.raises(Unusable, match=r"1 x 16000000 pixels; a side may have at most 65,535"):
        read_picture(png(1, 16_000_000, 0, 8))


def test_parts_are_limited_by_the_length_of_a_file():
    """A hundred small files of a form would else have ten million."""
    blocks = b"\x21\xfe" + b"\x01x" * 3_000 + b"\0"
    with pytest.raises(Unusable, match=r"more than 1,1\d\d parts"):
        read_picture(gif(8, 8)[:-1].replace(b"\x21\xf9", blocks + b"\x21\xf9", 1))
