"""Pictures that are as costly to decode as their format allows: every format, bit depth, mode and order of pixels."""

import io
import struct
import zlib

from PIL import Image

ORIENTATION = 0x0112
BITS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples of a pixel by a PNG's colour type
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def exif(orientation):
    """EXIF data, as in a PNG's chunk."""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 3, 1, orientation, 0, 0)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, colour, depth, interlaced=False, orientation=1, extra=b""):
    """A PNG of slopes, with the filter that costs most (Paeth). `extra`: chunks before the pixels."""
    bits = BITS[colour] * depth

    def rows(across, down):
        one = bytes([4]) + bytes(range(1, 8)) * ((across * bits + 7) // 8 // 7 + 1)
        return one[: 1 + (across * bits + 7) // 8] * down if across and down else b""

    parts = [rows(width, height)]
    if interlaced:
        parts = [rows(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in ADAM7]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(range(256)) * 3) + chunk(b"tRNS", bytes(range(256))) if colour == 3 else b""
    turned = chunk(b"eXIf", exif(orientation)) if orientation != 1 else b""
    pixels = zlib.compressobj(1)
    data = b"".join(map(pixels.compress, parts)) + pixels.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + palette
        + turned
        + extra
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def huffman(kind, symbol):
    """A table with one code, of one bit."""
    return segment(0xC4, bytes([kind << 4, 1] + [0] * 15 + [symbol]))


def jpeg(width, height, components=3, *, scans=None, progressive=False, orientation=1, extra=b""):
    """A flat JPEG, whose every block is two bits. `scans`: None for one with all components; else (components, first
    and last coefficient) of each."""
    numbers = list(range(1, components + 1))
    frame = struct.pack(">BHHB", 8, height, width, components) + b"".join(bytes([n, 0x11, 0]) for n in numbers)
    tables = segment(0xDB, bytes([0]) + bytes([1] * 64)) + huffman(0, 0) + huffman(1, 0)
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") if components == 4 else b""
    turned = segment(0xE1, b"Exif\0\0" + exif(orientation)) if orientation != 1 else b""
    blocks = -(-width // 8) * -(-height // 8)
    if scans is None:
        scans = [(numbers, 0, 0 if progressive else 63)]
        if progressive:
            scans += [([n], 1, 63) for n in numbers]
    parts = []
    for chosen, first, last in scans:
        parts.append(
            segment(0xDA, bytes([len(chosen)]) + b"".join(bytes([n, 0]) for n in chosen) + bytes([first, last, 0]))
        )
        bits = blocks * len(chosen) * (1 if progressive else 2)
        parts.append(b"\0" * (-(-bits // 8)))
    start = segment(0xC2 if progressive else 0xC0, frame)
    return b"\xff\xd8" + turned + adobe + extra + tables + start + b"".join(parts) + b"\xff\xd9"


def end_of_band_scans(width, height, count):
    """A grey progressive JPEG of `count` scans, each a few bytes: all blocks end in runs of 32,767."""
    blocks = -(-width // 8) * -(-height // 8)
    start = jpeg(width, height, 1, progressive=True, scans=[([1], 0, 0)])[:-2]
    run = (1 << 15) - 1
    bits = ("0" + "1" * 14) * -(-blocks // run)
    bits += "1" * (-len(bits) % 8)
    data = b"".join(bytes([int(bits[at : at + 8], 2)]) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    scan = segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + data
    return start + huffman(1, 0xE0) + scan * count + b"\xff\xd9"


def saved(mode, size, file_format, **options):
    picture = Image.linear_gradient("L").resize(size, Image.Resampling.NEAREST).convert(mode)
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def bmp(width, height, bits, compression=0, data=None, alpha=0):
    """A BMP of palette or colours; 32 bits with the header that tells of alpha."""
    row = (width * bits + 31) // 32 * 4
    body = bytes(row * height) if data is None else data
    palette = bytes(range(256)) * 4 if bits <= 8 else b""
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) if bits == 32 else b""
    size = 40 if bits != 32 else 124
    header = struct.pack(
        "<IiiHHIIiiII",
        size,
        width,
        height,
        1,
        bits,
        3 if bits == 32 else compression,
        len(body),
        0,
        0,
        256 if bits <= 8 else 0,
        0,
    )
    header += masks + bytes(size - 40 - len(masks))
    offset = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset) + header + palette + body


def gif(width, height, comment=b"", disposal=0):
    extension = bytes([0x21, 0xF9, 4, disposal << 2 | 1, 0, 0, 0, 0])
    body = saved("P", (width, height), "GIF", interlace=1)
    head = 13 + 3 * 2 ** (body[10] % 8 + 1)
    at = body.index(b"\x2c", head)
    blocks = [comment[n : n + 255] for n in range(0, len(comment), 255)]
    notes = b"\x21\xfe" + b"".join(bytes([len(one)]) + one for one in blocks) + b"\0" if comment else b""
    return body[:head] + notes + extension + body[at:]


def animated_webp(width, height, frames=2):
    file = io.BytesIO()
    pictures = [Image.new("RGB", (width, height), colour) for colour in ("red", "blue")[:frames]]
    pictures[0].save(file, "WEBP", save_all=True, append_images=pictures[1:], lossless=True, method=0)
    return file.getvalue()


class _Bits:
    """Bits of a lossless WebP, the lowest first."""

    def __init__(self):
        self.value, self.bytes, self.count = 0, bytearray(), 0

    def put(self, value, count):
        self.value |= value << self.count
        self.count += count
        while self.count >= 8:
            self.bytes.append(self.value & 255)
            self.value, self.count = self.value >> 8, self.count - 8


def webp_of_tables(side):
    """A lossless WebP with code tables of its own for each 4 x 4 pixels (RFC 9649, 6.2): 5.5 kB said in 4.5 bytes."""
    bits, single, blocks = _Bits(), 0b0001, (side + 3) // 4  # a code with the one symbol 0
    for value, count in ((0x2F, 8), (side - 1, 14), (side - 1, 14), (0, 4), (0, 2), (1, 1), (0, 3), (0, 1)):
        bits.put(value, count)
    for _ in range(2):  # green and red: all values in 8 bits
        for value, count in ((0, 1), (12 - 4, 4)):
            bits.put(value, count)
        for symbol in (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8):
            bits.put({8: 1, 0: 2, 18: 2}.get(symbol, 0), 3)
        for value, count in ((1, 1), (3, 3), (254, 8), (0, 256)):
            bits.put(value, count)
    for _ in range(3):
        bits.put(single, 4)
    reverse = [int(f"{value:08b}"[::-1], 2) for value in range(256)]
    for number in range(blocks**2):
        number = min(number, 65_535)
        bits.put(reverse[number % 256] | reverse[number // 256] << 8, 16)
    for _ in range(min(blocks**2, 65_536)):
        bits.put(single * 0x11111, 20)
    bits.put(0, 7)
    data = bytes(bits.bytes) + bytes(16 + len(bits.bytes) % 2)
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data
