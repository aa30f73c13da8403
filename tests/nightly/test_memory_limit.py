"""Every format, bit depth, mode and order of pixels, at the largest size, within the memory of stack.yml."""

from __future__ import annotations

import pytest

from costly_calls import every_kind
from integration.test_memory_limit import check, classify, decode_s  # noqa: F401 (fixtures)
from limited import Limited

EVERY_KIND = every_kind()


@pytest.mark.parametrize("name", EVERY_KIND)
def test_no_kind_of_picture_kills_or_stalls_classify(classify: Limited, decode_s: float, name: str) -> None:  # noqa: F811
    check(classify, EVERY_KIND[name](), decode_s)
