"""A JSON text is bounded before it is parsed: values by counting, depth by its brackets."""

import json

import pytest

from common.errors import Malformed
from common.json_reading import MAX_DEPTH, read_json


def nested(depth, opening="[", closing="]"):
    return (opening * depth + closing * depth).encode()


@pytest.mark.parametrize("body", [b"[{},{},{}]", b"[" * 4, b'[{"a":1},{"b":2}]', b"[1,2,3,4]", b'["]"]' * 2])
def test_values_are_counted_before_parsing(body):
    with pytest.raises(Malformed, match=r"has \d+ commas and brackets; at most 3 are allowed"):
        read_json(body, max_values=3)


def test_commas_within_texts_are_counted_too_but_allowed_up_to_the_limit():
    assert read_json(b'["a,b,c"]', max_values=4) == ["a,b,c"]


@pytest.mark.parametrize("body", [nested(100_000), nested(3 * MAX_DEPTH), nested(100, '{"a":', "1}"), b"[" * 100])
def test_deep_nesting_is_refused(body):
    with pytest.raises(Malformed, match=f"nested deeper than {MAX_DEPTH}"):
        read_json(body)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_depth_is_counted_in_every_encoding(encoding):
    # A reader that takes escaped quotation marks for the end of a text sees all the brackets within one.
    hidden = '["\\"", ' + "[" * 5000 + "]" * 5000 + ', "\\""]'
    with pytest.raises(Malformed, match="nested deeper"):
        read_json(hidden.encode(encoding))
    assert read_json('{"a": ["é", "[[["]}'.encode(encoding)) == {"a": ["é", "[[["]}


@pytest.mark.parametrize(
    "value",
    [
        nested(MAX_DEPTH),
        json.dumps(["[" * 500, '"' + "[" * 500, "\\" + "[" * 500, '\\"' + "{" * 500]).encode(),
        b'[{"a": [1, 2, {"b": []}]}, []]',
        b'"]]]]"',
        b"3",
    ],
)
def test_what_json_reads_is_read(value):
    assert read_json(value) == json.loads(value)


@pytest.mark.parametrize("body", [b"", b"[", b"{]", b'["', b"\xff\xfe\x00", b"\x00\xd8", b"NaN", b"[1,]", b'"\\'])
def test_what_is_not_json_is_refused(body):
    with pytest.raises(Malformed, match="not JSON"):
        read_json(body)
