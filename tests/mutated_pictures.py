"""Damaged picture files, made of real ones of every format. The same seed makes the same files."""

from __future__ import annotations

import os
import random
import re
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image, ImageChops, PngImagePlugin

from common.errors import Unusable
from common.inference.pictures import canonical_picture, decode_picture, seen_region, square_view
from costly_pictures import bmp, chunk, end_of_band_scans, exif, gif, jpeg, png, segment
from flowers import draw, encode
from servers import ROOT

PHOTOGRAPHS = 8
INTERESTING = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    1000,
    4000,
    32767,
    32768,
    65535,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
MAX_FILE = 400_000


def photographs() -> list[Image.Image]:
    """Real ones where they are shared, else drawings."""
    data = Path(os.environ.get("SABUESO_SHARED_DATA") or ROOT.parent / "shared" / "data")
    files = sorted((data / "pets" / "train").rglob("*.jpg"))[:: 2000 // PHOTOGRAPHS]
    return [Image.open(file).convert("RGB") for file in files] or [draw("cat", one, (200, 150)) for one in range(8)]


def whole_pictures() -> dict[str, list[bytes]]:
    """Files of each format with all that the format allows: metadata, animations, depths, palettes, interlacing."""
    photos = photographs()
    photo, small = photos[0], photos[1].resize((61, 47))
    alpha = small.convert("RGBA")
    alpha.putalpha(ImageChops.invert(small.convert("L")))
    frames = [one.resize((40, 30)) for one in photos[:4]]
    icc = bytes(range(256)) * 4
    tags = Image.Exif()
    tags.update({0x0112: 6, 0x010F: "a camera", 0x9003: "2026:12:01 00:00:00"})
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "x" * 500, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode()[29:])
    text = segment(0xFE, b"a comment") + segment(0xE1, XMP) + segment(0xE1, b"Exif\0\0" + exif(6))
    animation = {"save_all": True, "append_images": frames[1:], "duration": 50, "loop": 0}
    jpegs = [encode(one, "JPEG", quality=85) for one in photos]
    jpegs += [
        encode(photo, "JPEG", progressive=True, exif=tags, icc_profile=icc, comment=b"a comment", dpi=(72, 72)),
        encode(small, "JPEG", subsampling=0, restart_marker_blocks=3, xmp=XMP[29:]),
        encode(small.convert("L"), "JPEG", progressive=True),
        encode(small.convert("CMYK"), "JPEG", optimize=True),
        encode(small, "MPO", save_all=True, append_images=frames[:1]),
        jpeg(64, 48, 4, scans=[([one], 0, 63) for one in (1, 2, 3, 4)]),
        jpeg(64, 48, extra=text),
        end_of_band_scans(64, 48, 5),
    ]
    pngs = [
        png(19, 13, *kind, interlaced=laced)
        for laced in (False, True)
        for kind in ((0, 1), (0, 16), (2, 16), (3, 2), (3, 8), (4, 8), (6, 16))
    ]
    pngs += [
        encode(photo, "PNG", pnginfo=texts, exif=tags, icc_profile=icc, dpi=(72, 72)),
        encode(small.quantize(16), "PNG", transparency=3),
        encode(alpha, "PNG"),
        encode(frames[0], "PNG", **animation),
        png(19, 13, 2, 8, extra=chunk(b"tRNS", bytes(6)) + chunk(b"gAMA", bytes(4)) + chunk(b"bKGD", bytes(6))),
    ]
    webps = [
        encode(photo, "WEBP", quality=80, exif=tags, icc_profile=icc, xmp=XMP[29:]),
        encode(small, "WEBP", lossless=True),
        encode(small, "WEBP", quality=50),
        encode(alpha, "WEBP", quality=60),
        encode(alpha, "WEBP", lossless=True, exif=tags),
        encode(frames[0], "WEBP", **animation),
    ]
    gifs = [
        encode(photo.quantize(32), "GIF", comment=b"a comment"),
        encode(frames[0], "GIF", disposal=2, **animation),
        encode(small.quantize(8), "GIF", transparency=2, interlace=1),
        gif(19, 13, comment=b"x" * 600, disposal=3),
    ]
    runs = (b"\x13\x05\0\0" * 13) + b"\0\1"
    bmps = [bmp(19, 13, bits) for bits in (1, 4, 8, 16, 24, 32)]
    bmps += [bmp(19, 13, 8, 1, runs), bmp(19, 13, 4, 2, runs), encode(small, "BMP"), encode(small.quantize(16), "BMP")]
    bmps.append(b"BM" + struct.pack("<IHHIIHHHH", 26 + 60 * 13, 0, 0, 26, 12, 19, 13, 1, 24) + bytes(60 * 13))
    return {"JPEG": jpegs, "PNG": pngs, "WEBP": webps, "GIF": gifs, "BMP": bmps}


def parts_of(file_format: str, body: bytes) -> list[bytes]:
    """Its segments, chunks or blocks; together they are the file."""
    if file_format == "JPEG":
        return re.split(rb"(?=\xff[\xc0-\xcf\xd8-\xfe])", body)
    if file_format == "GIF":
        return re.split(rb"(?<=\0)(?=[\x21\x2c\x3b])", body)
    if file_format == "BMP":
        return [body[:14], body[14:54], body[54:200], body[200:]]
    at = 8 if file_format == "PNG" else 12
    parts = [body[:at]]
    while at < len(body):
        length = int.from_bytes(body[at : at + 4], "big") + 12
        if file_format == "WEBP":
            length = 8 + (int.from_bytes(body[at + 4 : at + 8], "little") + 1) // 2 * 2
        parts.append(body[at : at + length])
        at += length
    return parts


def joined(file_format: str, parts: list[bytes], chance: random.Random) -> bytes:
    """Mostly with the checksums and the length of the whole file set right, so that a decoder reads on."""
    if chance.random() < 0.8:
        if file_format == "PNG":
            checked = [
                one[:-4] + struct.pack(">I", zlib.crc32(one[4:-4])) if len(one) > 8 else one for one in parts[1:]
            ]
            parts = [*parts[:1], *checked]
        if file_format == "WEBP" and parts:
            rest = b"".join(parts[1:])
            parts = [parts[0][:4] + struct.pack("<I", len(rest) + 4) + parts[0][8:], rest]
    return b"".join(parts)


def number(chance: random.Random) -> bytes:
    size = chance.choice((1, 2, 3, 4))
    value = chance.choice(INTERESTING) if chance.random() < 0.7 else chance.getrandbits(12)
    return (value % 256**size).to_bytes(size, chance.choice(("big", "little")))


def overwritten(body: bytes, at: int, text: bytes) -> bytes:
    return body[:at] + text + body[at + len(text) :]


def change_bytes(body: bytes, other: bytes, chance: random.Random) -> bytes:
    """Whatever the format: bits flipped, bytes overwritten, a piece cut, doubled, moved, or of another file."""
    first, last = sorted(chance.randrange(len(body) + 1) for _ in range(2))
    at = chance.randrange(len(body) + 1)
    piece = body[first : min(last, first + 20_000)]
    kind = chance.randrange(7)
    if kind == 0:
        for _ in range(chance.choice((1, 2, 10, 100))):
            place = chance.randrange(len(body))
            body = overwritten(body, place, bytes([body[place] ^ 1 << chance.randrange(8)]))
        return body
    if kind == 1:
        return body[:at]
    if kind == 2:
        return body[:first] + body[last:]
    if kind == 3:
        return body[:at] + piece * chance.choice((1, 2, 5)) + body[at:]
    if kind == 4:
        return body[:at] + other[chance.randrange(len(other)) :]
    if kind == 5:
        return body[:at] + chance.randbytes(chance.choice((1, 4, 50))) + body[at:]
    return overwritten(body, at, number(chance) * chance.choice((1, 1, 1, 50)))


def change_parts(parts: list[bytes], others: list[bytes], chance: random.Random) -> list[bytes]:
    """A part is moved, doubled, left out, cut, taken from another file, or has another number at its beginning."""
    place, to = chance.randrange(len(parts)), chance.randrange(len(parts))
    before, one, after = parts[:place], parts[place], parts[place + 1 :]
    kind = chance.randrange(9)
    if kind == 0:
        rest = before + after
        return [*rest[:to], one, *rest[to:]]
    if kind == 1:
        return [*parts[:to], *[one] * chance.choice((1, 1, 3, 200)), *parts[to:]]
    if kind == 2:
        return before + after
    if kind == 3:
        return [*before, chance.choice(others), *parts[place + chance.randrange(2) :]]
    if kind == 4:
        return [*before, one[: chance.randrange(len(one) + 1)], *after]
    return [*before, overwritten(one, chance.randrange(min(len(one), 30) + 1), number(chance)), *after]


def larger(file_format: str, body: bytes, chance: random.Random) -> bytes:
    """With other sizes in its header."""
    starts = {"PNG": (16, 20), "GIF": (6, 8), "BMP": (18, 22), "WEBP": (24, 26, 27, 28, 21)}.get(file_format)
    if starts is None:
        frames = [match.start() + 5 for match in re.finditer(rb"\xff[\xc0-\xc2]\0", body)] or [0]
        starts = tuple(at + 2 * across for at in frames for across in (0, 1))
    width = 4 if file_format in ("PNG", "BMP") else 2
    order = "big" if file_format in ("PNG", "JPEG") else "little"
    for at in starts:
        if chance.random() < 0.6:
            size = chance.choice((0, 1, 3, 300, 4000, 8000, 20_000, 65_535)) if chance.random() < 0.8 else 2**31
            body = overwritten(body, at, (size % 256**width).to_bytes(width, order))
    return body


def mutated_pictures(seed: int) -> Iterator[tuple[str, bytes]]:
    """Endless: format and file; the first few of each format are whole."""
    chance = random.Random(seed)
    whole = whole_pictures()
    for name, files in whole.items():
        for body in files:
            yield name, body
    while True:
        name = chance.choice(list(whole))
        body, other = chance.choice(whole[name]), chance.choice(whole[chance.choice([name, name, *whole])])
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            how = chance.random()
            if how < 0.35:
                body = change_bytes(body or b"\0", other, chance)
            elif how < 0.8:
                parts = parts_of(name, body) or [b""]
                body = joined(name, change_parts(parts, parts_of(name, other) or [b""], chance), chance)
            else:
                body = larger(name, body, chance)
                if name == "PNG":
                    body = joined(name, parts_of(name, body), random.Random(1))
        yield name, body[:MAX_FILE]


def check_decoders(seed: int, count: int) -> None:
    """Each file is decoded, or refused as Unusable, by the decoders of all functions; nothing else may happen."""
    print(f"seed {seed}")
    view = square_view(160)
    for number, (file_format, body) in zip(range(count), mutated_pictures(seed), strict=False):
        for decode in (canonical_picture, partial(decode_picture, view=view), partial(seen_region, view=view)):
            try:
                decode(body)
            except Unusable:
                pass
            except Exception as error:
                error.add_note(f"seed {seed}, file {number}, a {file_format}: {body[:300]!r}")
                raise
