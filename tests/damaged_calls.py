"""Calls of classify with odd rows, forms and HTTP (from hypothesis), and with mutated pictures."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import string
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from common.inference.picture_files import CONTENT_TYPES, FORMATS
from local.made_up_rows import COLUMNS, made_up_rows
from mutated_pictures import mutated_pictures

NAMES = COLUMNS[:-1]
ROWS = [dict(zip(NAMES, row, strict=False)) for row in made_up_rows(50, 1)]
PICTURES = [body for _, (_, body) in zip(range(60), mutated_pictures(0), strict=False)]


@dataclass(frozen=True)
class Call:
    """`sent`: how the body travels. `is_http`: whether it is HTTP at all; else a server may close the connection."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    sent: str = "whole"

    @property
    def is_http(self) -> bool:
        return self.sent in ("whole", "chunked")

    def text(self, host: str) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        body = self.body
        if self.sent in ("chunked", "broken chunks"):
            lines.append("Transfer-Encoding: chunked")
            step = len(body) // 3 + 1
            chunks = [body[at : at + step] for at in range(0, len(body), step)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks)
            body += b"0\r\n\r\n" if self.sent == "chunked" else b"zz\r\n"
        elif self.sent == "cut":
            lines.append(f"Content-Length: {len(body) + 100}")
        elif self.sent == "wrong length":
            lines.append(
                f"Content-Length: {random.Random(len(body)).choice(['-1', 'x', '1e3', '99999999999999999999'])}"
            )
        elif body or self.method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


TEXT = st.text(max_size=30)  # with NULs, but no surrogates
ODD_NUMBERS = st.sampled_from([0, -1, 10**400, -(10**30), 1e308, 5e-324, float("nan"), float("inf"), 2**63, -0.0])
ODD_TEXTS = st.sampled_from(
    ["", " ", "NaN", "inf", "1_000", "1e999", "٣", "0x10", "\ud800", "\udfff\ud800", "\0", "x" * 300, "9" * 5000, "1,5"]
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT, ODD_NUMBERS, ODD_TEXTS)
VALUES = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=4) | st.dictionaries(TEXT, one, max_size=4), max_leaves=8
)
# Other characters are no HTTP: the server refuses them before the function sees them.
IN_TARGETS = st.sampled_from(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/%")
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
ENCODINGS = st.sampled_from(
    ["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7", "cp1252"]
)


def encoded(text: str, encoding: str) -> bytes:
    with contextlib.suppress(UnicodeEncodeError):
        return text.encode(encoding, "surrogatepass")
    return text.encode("utf-8", "surrogatepass")


FOREIGN = [b"[", b"{", b'"', b",", b"\0", b"[" * 2000, b'{"a":' * 200, b"\xff\xfe"]


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Mostly as it is; else cut, doubled, or with foreign bytes."""
    body = draw(whole)
    kind = draw(st.integers(0, 9))
    at = draw(st.integers(0, len(body)))
    if kind == 9:
        return body[:at]
    if kind == 8:
        return body[:at] + draw(st.binary(max_size=8)) + body[at:]
    if kind == 7:
        return body[:at] + draw(st.sampled_from(FOREIGN)) + body[at:]
    if kind == 6:
        return body * 2
    return body


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """A row as pairs, so that a column may come twice; with some odd values, columns missing or too many."""
    row = list(draw(st.sampled_from(ROWS)).items())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(row) - 1))
        kind = draw(st.integers(0, 3))
        if kind == 0 and len(row) > 1:
            del row[at]
        elif kind == 1:
            row.insert(at, (draw(st.sampled_from(NAMES) | TEXT | ODD_TEXTS), draw(VALUES)))
        else:
            row[at] = (row[at][0], draw(SCALARS if kind == 2 else VALUES))
    return row


def json_object(pairs: list[tuple[str, Any]], is_ascii: bool) -> str:
    return "{" + ", ".join(f"{dump(name, is_ascii)}: {dump(value, is_ascii)}" for name, value in pairs) + "}"


def dump(value: Any, is_ascii: bool) -> str:
    return json.dumps(value, ensure_ascii=is_ascii)


@st.composite
def json_bodies(draw: st.DrawFn) -> bytes:
    is_ascii, encoding, kind = draw(st.booleans()), draw(ENCODINGS), draw(st.integers(0, 9))
    if kind == 0:
        return encoded(dump(draw(VALUES), is_ascii), encoding)
    if kind == 1:
        wrapped = draw(st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs"]))
        return encoded(dump({wrapped: draw(VALUES)}, is_ascii), encoding)
    texts = [json_object(row, is_ascii) for row in draw(st.lists(rows(), min_size=1, max_size=4))]
    if kind == 2:
        texts = texts[:1] * draw(st.sampled_from([30, 300, 1000]))  # read block by block
    if kind < 7:
        return encoded(f"[{', '.join(texts)}]", encoding)
    return encoded(texts[0], encoding)


@st.composite
def csv_bodies(draw: st.DrawFn) -> bytes:
    header = list(NAMES)
    if draw(st.booleans()):
        header = draw(st.permutations(NAMES))
    records = [dict(row) for row in draw(st.lists(rows(), min_size=0, max_size=4))]
    lines: list[list[Any]] = [[record.get(name, "") for name in header] for record in records]
    if draw(st.integers(0, 5)) == 0:
        lines *= draw(st.sampled_from([30, 300]))
    if draw(st.integers(0, 4)) == 0:
        header = [*header, *draw(st.lists(TEXT | st.sampled_from(NAMES), max_size=3))]
    if draw(st.integers(0, 4)) == 0 and lines:
        lines[0] = draw(st.lists(TEXT | ODD_TEXTS, max_size=20))
    text = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_NONE]))
    writer = csv.writer(
        text,
        delimiter=draw(st.sampled_from([",", ",", ",", ";", "\t", "|"])),
        quotechar=draw(st.sampled_from(['"', '"', "'"])),
        lineterminator=draw(st.sampled_from(["\r\n", "\n", "\r", "\n\n", "\u2028", "\0\n"])),
        quoting=quoting,
        escapechar="\\",
    )
    with contextlib.suppress(csv.Error):  # a row of one empty value needs quotes
        writer.writerows([header, *lines])
    return encoded(text.getvalue(), draw(ENCODINGS))


DISPOSITIONS = st.sampled_from(
    [
        *['form-data; name="image"; filename="x.png"'] * 4,
        *('form-data; name="image"', 'form-data; name="image"; filename=""', 'form-data; name="file"; filename="x"'),
        *(
            "form-data; name=image; filename*=utf-8''%ff%fe",
            "form-data; name=image; filename*=foo'bar'%41; filename*0=a",
        ),
        *('form-data; filename="../../x"', "attachment", "", 'form-data; name="""""', "form-data; " + "a=b; " * 500),
    ]
)
PART_TYPES = st.sampled_from(
    [*CONTENT_TYPES, "", "text/plain; charset=utf-16", "text/plain; charset=x", "multipart/mixed"]
)
PART_HEADERS = ["", "Content-Transfer-Encoding: base64\r\n", "Content-Length: 99999\r\n", "X\r\n", "A: b\r\n" * 50]
BOUNDARIES = st.sampled_from(["x", "----b", "a b", "=?", "x" * 70, "x" * 300, ""])


@st.composite
def forms(draw: st.DrawFn) -> tuple[str, bytes]:
    """The content type and the body of a form, with mistakes in boundaries, headers and ends."""
    boundary, parts = draw(BOUNDARIES), []
    for _ in range(draw(st.integers(0, 4))):
        content = draw(st.sampled_from(PICTURES) | st.binary(max_size=50))
        head = f"--{boundary}\r\nContent-Disposition: {draw(DISPOSITIONS | HEADER_TEXT)}\r\n"
        head += f"Content-Type: {draw(PART_TYPES)}\r\n{draw(st.sampled_from(PART_HEADERS))}\r\n"
        parts.append(head.encode() + content + b"\r\n")
    if parts and draw(st.integers(0, 9)) == 0:
        parts *= draw(st.sampled_from([60, 200, 1500]))
    end = draw(st.sampled_from([f"--{boundary}--\r\n"] * 4 + [f"--{boundary}--", "", f"--{boundary}", "--\r\n", "\0"]))
    right = f'multipart/form-data; boundary="{boundary}"'
    wrong = ["multipart/form-data", "multipart/form-data; boundary=other", "multipart/mixed; boundary=x"]
    content_type = draw(st.sampled_from([*[right] * 6, f"{right}; charset=utf-16", *wrong]))
    return content_type, b"".join(parts)[:2_000_000] + end.encode()


TYPES = st.sampled_from(
    [
        *("application/json", "application/json; charset=utf-16", "APPLICATION/JSON", "application/json, text/csv"),
        *("text/csv", "text/csv; charset=latin-1; header=absent", "text/plain", "application/x-www-form-urlencoded"),
        *(
            "image/svg+xml",
            "image/",
            "/",
            ";",
            "*/*",
            "multipart/form-data",
            "application/problem+json",
            *CONTENT_TYPES,
        ),
    ]
)
QUERIES = st.sampled_from(
    [
        *("", "", "", "?", "?explain=1", "?explain=0", "?explain=2", "?explain=1&explain=0", "?explain", "?a=b", "?%"),
        *("?explain=%ff", "?%00", "?&&&=", "?explain=1;a=2", "?explain=%e2%80%a8", "?" + "a=b&" * 500),
        "?explain=" + "1" * 5000,
    ]
) | st.text(IN_TARGETS, max_size=30).map("?{}".format)
ACCEPTS = st.sampled_from(
    [
        *("*/*", "application/json", "text/csv", "text/csv;q=0.5, application/json;q=0.4", "text/csv;q=x", "text/html"),
        *("", "text/csv;q=0", ",,,;;;=", "text/csv" * 200, "text/csv;level=1", "a" * 4000),
    ]
)
PATHS = st.sampled_from(
    [
        *["/covertype", "/pets"] * 6,
        *(
            "/",
            "/roses",
            "/healthz",
            "/readyz",
            "/metrics",
            "/openapi.json",
            "//pets",
            "/pets/",
            "/pets//x",
            "/pets;a=b",
        ),
        *("/pets/../pets", "/%70ets", "/pets%00", "/%ff", "/%2e%2e/%2e%2e/etc/passwd", "/" + "a" * 3000),
    ]
) | st.text(IN_TARGETS, max_size=30).map("/{}".format)
OTHER_METHODS = ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "get")
METHODS = st.sampled_from([*["POST"] * 12, *["GET"] * 3, *OTHER_METHODS])
HEADER_NAMES = st.sampled_from(
    [
        *(
            "X-Call-Id",
            "X-Request-Id",
            "Origin",
            "Cookie",
            "Content-Encoding",
            "Expect",
            "Range",
            "If-None-Match",
            "TE",
        ),
        *("Upgrade", "X-Forwarded-Host", "Forwarded", "Authorization", "Referer", "Access-Control-Request-Method"),
        "X-HTTP-Method-Override",
    ]
)
HEADER_VALUES = ["gzip", "100-continue", "bytes=0-1", "websocket", "null", "", "DELETE", "x" * 4000]
HEADERS = st.lists(st.tuples(HEADER_NAMES, st.sampled_from(HEADER_VALUES) | HEADER_TEXT), max_size=3)
SENT = st.sampled_from([*["whole"] * 5, "chunked", "cut", "broken chunks", "wrong length"])


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """Rows or a form for a pipeline that takes them, or odd HTTP: both at once would hide mistakes in the body."""
    kind = draw(st.integers(0, 9))
    if kind < 8:
        if kind < 3:
            path, (content_type, body) = "/pets", draw(forms())
        elif kind < 5:
            path, content_type, body = "/covertype", "text/csv", draw(damaged(csv_bodies()))
        else:
            path, content_type, body = "/covertype", "application/json", draw(damaged(json_bodies()))
        query = draw(st.sampled_from(["", "", "", "?explain=1"]))
        accept = draw(st.sampled_from(["*/*", "*/*", "text/csv"]))
        headers = (("Content-Type", content_type), ("Accept", accept))
        return Call("POST", path + query, headers, body, draw(st.sampled_from(["whole", "whole", "chunked"])))
    body = draw(st.just(b"") | st.binary(max_size=200) | json_bodies() | st.sampled_from(PICTURES))
    headers = (("Content-Type", draw(TYPES | HEADER_TEXT)), ("Accept", draw(ACCEPTS)), *draw(HEADERS))
    return Call(draw(METHODS), draw(PATHS) + draw(QUERIES), headers, body, draw(SENT))


def picture_call(number: int, file_format: str, body: bytes) -> Call:
    """A mutated picture: raw, or in a form with a whole one; sometimes explained, sometimes as CSV."""
    query = "?explain=1" if number % 5 == 0 else ""
    if number % 7 == 0:
        return Call(
            "POST", f"/pets{query}", (("Content-Type", "multipart/form-data; boundary=x"),), form(body, PICTURES[0])
        )
    headers = [("Content-Type", FORMATS[file_format])]
    if number % 11 == 0:
        headers.append(("Accept", "text/csv"))
    return Call("POST", f"/pets{query}", tuple(headers), body)


def form(*files: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    return b"".join(head + one + b"\r\n" for one in files) + b"--x--\r\n"


def largest_calls() -> list[Call]:
    """As large as the inputs get. A worker keeps some of the memory that it takes for its first such call."""
    csv_rows = "\n".join(map(",".join, [NAMES, *([row[name] for name in NAMES] for row in ROWS * 24)]))
    many = (("Content-Type", "multipart/form-data; boundary=x"),)
    return [
        Call("POST", "/covertype", (("Content-Type", "text/csv"),), csv_rows.encode()),
        Call("POST", "/covertype", (("Content-Type", "application/json"),), json.dumps(ROWS * 20).encode()),
        Call("POST", "/covertype?explain=1", (("Content-Type", "application/json"),), json.dumps(ROWS).encode()),
        Call("POST", "/pets", many, form(*[PICTURES[0]] * 60)),
        Call("POST", "/pets", many, form(*[PICTURES[0]] * 150)),
    ]
