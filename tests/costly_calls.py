"""Calls of classify that are as costly as a body of 20 MB, or a small one, can make them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from costly_pictures import (
    animated_webp,
    bmp,
    chunk,
    end_of_band_scans,
    gif,
    jpeg,
    png,
    saved,
    segment,
    webp_of_tables,
)
from local.made_up_rows import COLUMNS, made_up_rows

LARGEST = 20_000_000
SIDE = 4000  # of a square picture of 16 megapixels


@dataclass(frozen=True)
class Costly:
    """`path`: the pipeline and the query. `status`: of the answer. `is_work`: rows that are answered, all of them."""

    path: str
    content_type: str
    body: bytes
    status: int

    @property
    def is_work(self) -> bool:
        return self.path == "covertype" and self.status == 200


def picture(body: bytes, status: int = 200, query: str = "") -> Costly:
    return Costly(f"pets{query}", "image/x", body, status)


def form(files: list[bytes], status: int) -> Costly:
    parts = [b'--x\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + one for one in files]
    return Costly("pets", "multipart/form-data; boundary=x", b"\r\n".join([*parts, b"--x--\r\n"]), status)


def rows(body: bytes, status: int, content_type: str = "application/json", query: str = "") -> Costly:
    return Costly(f"covertype{query}", content_type, body[:LARGEST], status)


def made_up_csv(size: int = LARGEST) -> bytes:
    header = ",".join(COLUMNS).encode() + b"\n"
    lines = [",".join(row).encode() + b"\n" for row in made_up_rows(1000, 1)]
    block = b"".join(lines)
    return (header + block * (min(size, 100_000 * len(block) // 1000) // len(block)))[:size].rpartition(b"\n")[
        0
    ] + b"\n"


def made_up_json() -> bytes:
    names = COLUMNS[:-1]
    block = b",".join(json.dumps(dict(zip(names, row, strict=False))).encode() for row in made_up_rows(1000, 1))
    return b"[" + b",".join([block] * ((LARGEST - 2) // (len(block) + 1))) + b"]"


def filled(start: bytes, one: bytes, end: bytes) -> bytes:
    """As many of `one` as fit into the largest body."""
    return start + one * ((LARGEST - len(start) - len(end)) // len(one)) + end


# Each was a way to kill or to stall classify.
KNOWN: Mapping[str, Callable[[], Costly]] = {
    "16-bit grey PNG, turned": lambda: picture(png(3500, 3500, 0, 16, orientation=6)),
    "baseline CMYK JPEG of 50 MP, a scan a component": lambda: picture(
        jpeg(8000, 6250, 4, scans=[([number], 0, 63) for number in (1, 2, 3, 4)]), 422
    ),
    "the same of 16 MP": lambda: picture(jpeg(SIDE, SIDE, 4, scans=[([number], 0, 63) for number in (1, 2, 3, 4)])),
    "JSON of empty objects": lambda: rows(filled(b"[", b"{},", b"{}]"), 400),
    "CSV header of commas": lambda: rows(b"," * 15_000_000, 422, "text/csv"),
    "CSV of x with explanations": lambda: rows(b"x\n" * 10_000_000, 422, "text/csv", "?explain=1"),
    "CSV of too many rows to explain": lambda: rows(made_up_csv(), 400, "text/csv", "?explain=1"),
    "animated WebP": lambda: picture(animated_webp(3900, 3900)),
    "JPEG of 2,213 scans": lambda: picture(end_of_band_scans(3500, 3500, 2213), 422),
    "JPEG of as many scans as are allowed": lambda: picture(end_of_band_scans(SIDE, SIDE, 17)),
    "form of 100 PNGs": lambda: form([png(2000, 1000, 6, 16)] * 100, 400),
    "form of as many pixels as are allowed": lambda: form([png(640, 480, 6, 16)] * 64, 200),
}
# Their kin, found by the same means.
KIN: Mapping[str, Callable[[], Costly]] = {
    "16-bit RGBA PNG": lambda: picture(png(SIDE, SIDE, 6, 16, interlaced=True, orientation=5)),
    "WebP, lossless, explained": lambda: picture(animated_webp(3800, 3900), 200, "?explain=1"),
    "progressive CMYK JPEG": lambda: picture(jpeg(SIDE, SIDE, 4, progressive=True, orientation=8)),
    "WebP of code tables": lambda: picture(webp_of_tables(820)),
    "WebP of more code tables": lambda: picture(webp_of_tables(1024), 422),
    "form of WebPs of code tables": lambda: form([webp_of_tables(128)] * 50, 200),
    "GIF with a comment of 15 MB": lambda: picture(gif(SIDE, SIDE, comment=b"x" * 15_000_000, disposal=2)),
    "BMP of runs": lambda: picture(bmp(1100, 1100, 8, 1, data=(b"\1\0" * 1100 + b"\0\0") * 1100 + b"\1\0" * 8_000_000)),
    "JPEG of empty comments": lambda: picture(jpeg(8, 8, extra=b"\xff\xfe\0\2" * 4_900_000), 422),
    "PNG of empty chunks": lambda: picture(png(8, 8, 2, 8, extra=chunk(b"teSt", b"") * 1_600_000), 422),
    "JPEG of 20 MB of metadata": lambda: picture(jpeg(8160, 6144, extra=segment(0xE2, bytes(65_000)) * 290)),
    "JSON of objects of one value": lambda: rows(filled(b"[", b'{"a":1},', b'{"a":1}]')[:5_900_000] + b'"a":1}]', 400),
    "JSON of lists": lambda: rows(b"[" + b"[]," * 490_000 + b"[]]", 422),
    "JSON of two texts with an emoji": lambda: rows(
        json.dumps(["x" * 9_900_000 + "😀"] * 2, ensure_ascii=False).encode(), 422
    ),
    "JSON, deep": lambda: rows(b"[" * 700_000 + b"]" * 700_000, 400),
    "JSON in UTF-32": lambda: rows(("[" + "1," * 2_000_000 + "1]").encode("utf-32"), 400),
    "a row of 700,000 unknown columns": lambda: rows(json.dumps({f"c{n}": 1 for n in range(700_000)}).encode(), 422),
    "CSV of one quoted row": lambda: rows(b"x\n" + b'"a\n",' * 3_000_000, 422, "text/csv"),
    "CSV of 100,000 rows": lambda: rows(made_up_csv(), 200, "text/csv"),
    "JSON of 20 MB of rows": lambda: rows(made_up_json(), 200),
    "form of 100 small pictures": lambda: form([jpeg(300, 300)] * 100, 200),
    "form of a picture of 19 MB": lambda: form([jpeg(8160, 6144, extra=segment(0xE2, bytes(65_000)) * 290)], 200),
    "form of many fields": lambda: Costly(
        "pets",
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 380_000 + b"--x--",
        413,
    ),
}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def every_kind() -> dict[str, Callable[[], Costly]]:
    """Every format, bit depth, mode and order of pixels, at the largest size that is allowed."""
    kinds: dict[str, Callable[[], Costly]] = {}
    for colour, depths in DEPTHS.items():
        for depth in depths:
            for interlaced in (False, True):
                kinds[f"PNG {colour}, {depth} bits{', interlaced' * interlaced}"] = (
                    lambda colour=colour, depth=depth, interlaced=interlaced: picture(
                        png(SIDE, SIDE, colour, depth, interlaced, orientation=6 if interlaced else 1)
                    )
                )
    for components in (1, 3, 4):
        for orientation in (1, 3, 5):
            kinds[f"JPEG {components} {orientation}"] = lambda components=components, orientation=orientation: picture(
                jpeg(8000, 6500, components, orientation=orientation)
            )
            kinds[f"JPEG {components} {orientation}, progressive"] = (
                lambda components=components, orientation=orientation: picture(
                    jpeg(SIDE, SIDE, components, progressive=True, orientation=orientation)
                )
            )
    for mode in ("RGB", "RGBA"):
        for lossless in (False, True):
            kinds[f"WebP {mode}{', lossless' * lossless}"] = lambda mode=mode, lossless=lossless: picture(
                saved(mode, (450, 450) if lossless else (SIDE, SIDE), "WEBP", lossless=lossless, method=0)
            )
    for disposal in (0, 2, 3):
        kinds[f"GIF {disposal}"] = lambda disposal=disposal: picture(gif(SIDE, SIDE, disposal=disposal))
    for bits, width, height in (
        (1, SIDE, SIDE),
        (4, SIDE, SIDE),
        (8, SIDE, SIDE),
        (16, 3000, 3000),
        (24, 2500, 2500),
        (32, 2200, 2200),
    ):
        kinds[f"BMP of {bits} bits"] = lambda bits=bits, width=width, height=height: picture(bmp(width, height, bits))
    return kinds
