"""The model card says exactly which texts a column takes."""

import re
import sys

from classify.model_card import NOT_BLANK

# What \s is in JavaScript, and so in JSON Schema; in Python it is more.
ECMA_SPACE = r"\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"


def test_a_text_of_white_space_alone_matches_no_pattern():
    """U+FEFF is text to Python and white space to JavaScript: the card promises less than is taken."""
    pattern = re.compile(NOT_BLANK.replace(r"\S", r"[^\s]").replace(r"\s", ECMA_SPACE))
    wrong = [n for n in range(sys.maxunicode) if bool(chr(n).strip()) != bool(pattern.search(chr(n))) and n != 0xFEFF]
    assert wrong == []
