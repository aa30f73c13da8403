"""Pictures and CSVs that a function accepts, for schemathesis, which loads this file (SCHEMATHESIS_HOOKS)."""

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image

from common.inference.picture_files import FORMATS
from local.made_up_rows import COLUMNS, made_up_rows

HEADER, ROWS = COLUMNS[:-1], [row[:-1] for row in made_up_rows(200, 1)]


@st.composite
def pictures(draw: st.DrawFn, file_format: str) -> bytes:
    size = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    picture = Image.new("RGB", size, draw(st.sampled_from(["red", "white", "#123456"])))
    file = io.BytesIO()
    picture.save(file, file_format)
    return file.getvalue()


def csv(rows: list[list[str]]) -> bytes:
    return "\n".join(map(",".join, [HEADER, *rows])).encode()


for name, mimetype in FORMATS.items():
    schemathesis.openapi.media_type(mimetype, pictures(name))
schemathesis.openapi.media_type("text/csv", st.lists(st.sampled_from(ROWS), min_size=1, max_size=20).map(csv))
