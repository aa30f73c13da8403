"""Reads what decoding a picture file will cost, and leaves out all of the file that is not pixels.

Pillow parses metadata eagerly, some of it in time or memory that no limit on pixels bounds (texts and colour profiles
that unpack, EXIF tags that share their bytes, comments in thousands of pieces, millions of empty segments). So its
decoders get pixels alone; orientation is read here. A phone's file with several pictures (MPO, Ultra HDR) is the plain
JPEG at its beginning. Formats: ITU T.81 (JPEG), PNG 1.2, GIF89a, RFC 9649 (WebP).
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from common.errors import Unusable

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}
CONTENT_TYPES = tuple(FORMATS.values())
# Chunks or blocks of a file: at most these, and one for each 50 bytes beyond the first thousand.
# A GIF has blocks of 255 bytes, a PNG chunks of 8 kB.
MAX_PARTS, FREE_PARTS, PART_BYTES = 100_000, 1_000, 50
# A row takes memory of its own.
MAX_SIDE = 65_535
# The side that a JPEG keeps when it is decoded at 1/8, 1/4 or 1/2 of its scale (pictures.py: networks of 160 px).
SEEN_SIDE, SCALES = 152, (8, 4, 2, 1)
# More decoded pixels than these make a JPEG one that takes memory for every pixel.
REDUCED_PIXELS = 2_000_000
# Segments of a JPEG before its pixels; Pillow takes more time for each. 20 MB of metadata in 64 kB each are 300.
MAX_SEGMENTS = 5_000
# What a pixel costs to decode, in scans of a JPEG. Pillow unpacks run-length encoded BMPs in Python.
PASSES, PASSES_RLE = 15, 200
MAX_EXIF_TAGS = 1000
# After any other segment Pillow and libjpeg would read on at different places, and so another frame than we do.
JPEG_SEGMENTS = {*range(0xC0, 0xDE), *range(0xE0, 0xF0), 0xFE} - {0xC8}
MAX_BMP_HEADER = 300_000  # with the largest palette
# Lossless data of a WebP may hold code tables for each 4 x 4 pixels: 5.5 kB said in 4.5 bytes, or 20 kB in some 200.
# In memory of pixels (17 bytes), for each pixel and for each byte of the data.
TABLES_OF_PIXEL, TABLES_OF_BYTE = 75, 80
ORIENTATION = 0x0112
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')

Megapixels = Annotated[float, Field(gt=0, lt=1e6)]


class PictureLimits(BaseModel):
    """What one picture, and all pictures of a call together, may cost. Every function reads them as settings."""

    model_config = ConfigDict(frozen=True, validate_by_name=True, validate_by_alias=True)

    max_jpeg_megapixels: Megapixels = Field(
        52,
        alias="SABUESO_MAX_JPEG_MEGAPIXELS",
        description="megapixels of a JPEG that is decoded at reduced scale: of a single scan, as cameras write it",
    )
    max_megapixels: Megapixels = Field(
        16,
        alias="SABUESO_MAX_MEGAPIXELS",
        description="megapixels of any other picture, for which decoding needs up to 17 bytes a pixel; a WebP "
        "that is lossless or transparent counts 80 more for each megabyte of that, but at most 75 for each megapixel",
    )
    max_work_megapixels: Megapixels = Field(
        300,
        alias="SABUESO_MAX_WORK_MEGAPIXELS",
        description="megapixels of decoding for all pictures of one call: a JPEG counts once for each scan (a narrow "
        "one up to 8 times), another picture 15 times, a run-length encoded BMP 200 times",
    )


class PictureFile(NamedTuple):
    """`pixels`: the file without metadata and further frames. `orientation`: 1 to 8, as in EXIF.

    `whole`: decoding needs memory for every pixel. A JPEG of a single scan does not: it is decoded at reduced scale.
    `passes`: how often decoding goes through all pixels. `tables`: the pixels that code tables count for.
    """

    format: str
    pixels: bytes
    width: int
    height: int
    whole: bool
    passes: int
    orientation: int = 1
    tables: int = 0

    @property
    def cost(self) -> int:
        """Pixels and code tables: if it is decoded whole, what takes memory."""
        return self.width * self.height + self.tables

    @property
    def work(self) -> int:
        """Cost times passes."""
        return self.cost * self.passes


DEFAULT_LIMITS = PictureLimits()


def read_picture(body: bytes, limits: PictureLimits | None = DEFAULT_LIMITS) -> PictureFile:
    """The picture in a file, not yet decoded. `limits`: None for stored files, which were checked when they arrived.

    Raises Unusable if it is none of FORMATS, its header is damaged, or it exceeds a limit.
    """
    read = next((read for magic, read in _READERS.items() if body.startswith(magic)), None)
    if read is None:
        raise damaged("its format is unknown")
    try:
        file = read(body)
    except (IndexError, struct.error):
        raise damaged("the file ends in its header") from None
    if file.width * file.height == 0:
        raise damaged("it has no pixels")
    if max(file.width, file.height) > MAX_SIDE:
        raise Unusable(f"the picture has {file.width} x {file.height} pixels; a side may have at most {MAX_SIDE:,}")
    if limits is not None:
        _check(file, limits)
    return file


def damaged(why: str) -> Unusable:
    return Unusable(f"can't be read as a picture of type {', '.join(FORMATS)}: {why[:120]}")


def _check(file: PictureFile, limits: PictureLimits) -> None:
    kind = f"a progressive or multi-scan {file.format}" if file.format == "JPEG" and file.whole else f"a {file.format}"
    size, megapixels = f"{file.width} x {file.height}", file.width * file.height / 1e6
    limit = limits.max_megapixels if file.whole else limits.max_jpeg_megapixels
    if megapixels > limit:
        raise Unusable(f"the picture has {megapixels:.3g} megapixels ({size}); {kind} may have at most {limit:g}")
    if file.cost > limit * 1e6:
        raise Unusable(
            f"the picture, a lossless or transparent WebP of {len(file.pixels):,} bytes and {size} pixels, may need "
            f"the memory of {file.cost / 1e6:.4g} megapixels; at most {limit:g} are allowed. Save it as PNG or JPEG"
        )
    if file.work > limits.max_work_megapixels * 1e6:
        raise Unusable(
            f"the picture takes {file.work / 1e6:,.0f} megapixels of decoding, {file.passes} passes over {size}; "
            f"at most {limits.max_work_megapixels:g} are allowed"
        )


class _Parts:
    """Counts the parts of a file. Raises Unusable beyond the limit."""

    def __init__(self, body: bytes, limit: int = MAX_PARTS) -> None:
        self.limit = min(limit, FREE_PARTS + len(body) // PART_BYTES)
        self.left = self.limit

    def add(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise damaged(f"it has more than {self.limit:,} parts")


def _read_jpeg(body: bytes) -> PictureFile:
    """Segments up to the first scan. Kept: all that decodes (JFIF and Adobe tell the colour model); no metadata."""
    kept, at, parts = [b"\xff\xd8"], 2, _Parts(body, MAX_SEGMENTS)
    width = height = components = exif = xmp = 0
    whole = False
    while True:
        parts.add()
        at = body.find(b"\xff", at) + 1
        marker = body[at] if at else 0xD9
        if marker == 0xFF:
            continue
        at += 1
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # no segment follows
            continue
        if marker == 0xD9:
            raise damaged("the JPEG has no picture")
        length = int.from_bytes(body[at : at + 2], "big")
        if marker not in JPEG_SEGMENTS or length < 2:
            raise damaged("the JPEG has a segment of an unknown type or without a length")
        segment = body[at + 2 : at + length]
        if marker == 0xDA:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            _, height, width, components = struct.unpack_from(">BHHB", segment)
            if marker > 0xC8:
                raise damaged("arithmetic coding of a JPEG is not supported")
            whole = marker in (0xC2, 0xC6)
        elif marker == 0xE1 and segment.startswith(b"Exif\0\0"):
            exif = exif or _exif_orientation(segment[6:])
        elif marker == 0xE1:
            xmp = xmp or _xmp_orientation(segment)
        if not 0xE1 <= marker <= 0xED and marker not in (0xEF, 0xFE):
            kept.append(b"\xff" + body[at - 1 : at + length])
        at += max(length, 2)
    whole = whole or segment[0] < components
    # A thumbnail has scans too, but lies in a segment of its own, before.
    scans = body.count(b"\xff\xda", at - 2) if whole else 1
    # A narrow picture can't be reduced much: its pixels cost more.
    scale = next(one for one in SCALES if min(width, height) >= one * SEEN_SIDE or one == 1)
    whole = whole or width * height / scale**2 > REDUCED_PIXELS
    passes = max(scans, SCALES[0] // scale)
    kept.append(body[at - 2 :])
    return PictureFile("JPEG", b"".join(kept), width, height, whole, passes, exif or xmp or 1)


def _read_png(body: bytes) -> PictureFile:
    """Header, palette, transparency, and the pixels in one chunk. An animation's default picture."""
    if body[8:16] != b"\0\0\0\x0dIHDR":
        raise damaged("the PNG does not begin with a header")
    width, height = struct.unpack_from(">II", body, 16)
    kept, data, at, exif, xmp, parts = [body[:33]], [], 33, 0, 0, _Parts(body)
    while at + 8 <= len(body):
        parts.add()
        length, name = struct.unpack_from(">I4s", body, at)
        end = at + 12 + length
        if name == b"IDAT":
            data.append(body[at + 8 : end - 4])
        elif name in (b"PLTE", b"tRNS") and not data:
            kept.append(body[at:end])
        elif name == b"eXIf":
            exif = exif or _exif_orientation(body[at + 8 : end - 4])
        elif name == b"iTXt" and body.startswith(b"XML:com.adobe.xmp", at + 8):
            xmp = xmp or _xmp_orientation(body[at + 8 : end])
        elif name == b"IEND":
            break
        at = end
    pixels = b"IDAT" + b"".join(data)
    kept += [struct.pack(">I", len(pixels) - 4), pixels, struct.pack(">I", zlib.crc32(pixels))]
    kept.append(b"\0\0\0\0IEND\xaeB`\x82")
    return PictureFile("PNG", b"".join(kept), width, height, True, PASSES, exif or xmp or 1)


def _read_gif(body: bytes) -> PictureFile:
    """The first frame, without comments; what happens to it before the next one does not matter."""
    width, height, flags = struct.unpack_from("<HHB", body, 6)
    at, control, parts = 13 + _palette(flags), b"", _Parts(body)
    kept = [body[:at]]
    while body[at] == 0x21:  # an extension
        block_end = _end_of_blocks(body, at + 2, parts)
        if body[at + 1] == 0xF9:
            control = body[at:block_end]
        at = block_end
    if body[at] != 0x2C:
        raise damaged("the GIF has no picture")
    left, top, own_width, own_height, own_flags = struct.unpack_from("<HHHHB", body, at + 1)
    end = _end_of_blocks(body, at + 11 + _palette(own_flags), parts)
    if len(control) == 8:
        kept.append(control[:3] + bytes([control[3] & 1]) + control[4:])  # transparency alone
    kept += [body[at:end], b";"]
    size = max(width, left + own_width), max(height, top + own_height)
    return PictureFile("GIF", b"".join(kept), *size, whole=True, passes=PASSES)


def _palette(flags: int) -> int:
    """Bytes of a GIF's palette."""
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0


def _end_of_blocks(body: bytes, at: int, parts: _Parts) -> int:
    """Where a GIF's data blocks end; each begins with its length, the last has length 0."""
    while at < len(body) and body[at]:
        parts.add()
        at += 1 + body[at]
    return at + 1


def _read_webp(body: bytes) -> PictureFile:
    """As it is: libwebp reads chunks only when asked. Of an animation it decodes the first frame."""
    exif, xmp, at, parts, lossless, of_frame = 0, 0, 12, _Parts(body), 0, 0
    first = body[12:16] if body[8:12] == b"WEBP" else b""
    if first == b"VP8X":
        width, height = (int.from_bytes(body[place : place + 3], "little") + 1 for place in (24, 27))
    elif first == b"VP8L":
        packed, lossless = struct.unpack_from("<I", body, 21)[0], len(body)
        width, height = packed % 2**14 + 1, (packed >> 14) % 2**14 + 1
    elif first == b"VP8 ":
        width, height = (one % 2**14 for one in struct.unpack_from("<HH", body, 26))
    else:
        raise damaged("the WebP has no picture")
    while first == b"VP8X" and at + 8 <= len(body):
        parts.add()
        name, length = struct.unpack_from("<4sI", body, at)
        if name == b"EXIF":
            exif = exif or _exif_orientation(body[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        elif name == b"XMP ":
            xmp = xmp or _xmp_orientation(body[at + 8 : at + 8 + length])
        elif name in (b"VP8L", b"ALPH"):
            of_frame += length
            lossless = max(lossless, of_frame)
        elif name == b"ANMF":
            of_frame, length = 0, 16  # a frame's chunks follow its header
        at += 8 + length + length % 2
    tables = min(TABLES_OF_PIXEL * width * height, TABLES_OF_BYTE * lossless)
    return PictureFile("WEBP", body, width, height, True, PASSES, exif or xmp or 1, tables)


def _read_bmp(body: bytes) -> PictureFile:
    if struct.unpack_from("<I", body, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", body, 18)
        return PictureFile("BMP", body, width, height, True, PASSES)
    width, height = map(abs, struct.unpack_from("<ii", body, 18))
    if struct.unpack_from("<I", body, 30)[0] not in (1, 2):
        return PictureFile("BMP", body, width, height, True, PASSES)
    # Run-length encoded: two bytes say one pixel or more, or end a line. Any more would be runs of no pixels.
    start = min(struct.unpack_from("<I", body, 10)[0], MAX_BMP_HEADER)
    return PictureFile("BMP", body[: start + 2 * (width + 1) * height], width, height, True, PASSES_RLE)


def _xmp_orientation(text: bytes) -> int:
    match = XMP_ORIENTATION.search(text)
    return int(match[1]) if match else 0


def _exif_orientation(exif: bytes) -> int:
    """From the first directory of tags; 0 if it is not there, or damaged."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 0
    try:
        start = struct.unpack_from(f"{order}I", exif, 4)[0]
        for number in range(min(struct.unpack_from(f"{order}H", exif, start)[0], MAX_EXIF_TAGS)):
            tag, kind = struct.unpack_from(f"{order}HH", exif, start + 2 + 12 * number)
            if tag == ORIENTATION:
                value = struct.unpack_from(f"{order}{'I' if kind == 4 else 'H'}", exif, start + 10 + 12 * number)[0]
                return value if 1 <= value <= 8 else 0
    except struct.error:
        pass
    return 0


_READERS = {
    b"\xff\xd8\xff": _read_jpeg,
    b"\x89PNG\r\n\x1a\n": _read_png,
    b"GIF87a": _read_gif,
    b"GIF89a": _read_gif,
    b"RIFF": _read_webp,
    b"BM": _read_bmp,
}
