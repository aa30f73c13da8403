"""The table of what one call may hold, from the settings of classify and the limits in the code."""

from __future__ import annotations

from classify.settings import ClassifySettings
from common.admission import BODY_S
from common.csv_rows import MAX_ROW_CHARACTERS
from common.inference.picture_files import MAX_PARTS, MAX_SEGMENTS, MAX_SIDE
from common.json_reading import MAX_DEPTH

# Each limit that is a setting, with the status of the answer beyond it.
SETTINGS = {
    "max_body_mb": 413,
    "max_pictures": 400,
    "max_jpeg_megapixels": 422,
    "max_megapixels": 422,
    "max_work_megapixels": "400; 422 for one picture alone",
    "max_rows": 400,
    "max_values": 400,
    "max_explained": 400,
    "calls": 503,
    "queue_s": 503,
}
FIXED = (
    (f"{BODY_S:g}", "seconds that a body may take to arrive", 400),
    (f"{MAX_DEPTH}", "levels of brackets in a JSON text", 400),
    (f"{MAX_ROW_CHARACTERS:,}", "characters of a row, or of the header, of a CSV", 422),
    (
        f"{MAX_PARTS:,}",
        "chunks or blocks of a PNG, WebP or GIF, and one for each 50 bytes beyond 1,000",
        422,
    ),
    (f"{MAX_SIDE:,}", "pixels of a picture's side", 422),
    (f"{MAX_SEGMENTS:,}", "segments of a JPEG before its pixels", 422),
)


def limits_table() -> str:
    """As Markdown."""
    lines = ["| at most | of what | setting | beyond it |", "| --- | --- | --- | --- |"]
    for name, status in SETTINGS.items():
        field = ClassifySettings.model_fields[name]
        lines.append(f"| {field.default:,} | {field.description} | `{field.alias}` | {status} |")
    lines += [f"| {most} | {what} | fixed | {status} |" for most, what, status in FIXED]
    return "\n".join(lines) + "\n"
