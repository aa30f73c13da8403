"""Damaged inputs get a problem document and kill nothing; openapi.json says what the functions do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployed import Function
from fuzzing import FIXED_SEED, fuzz, seed_of_run
from limited import Limited, limited_classify
from schema_checks import PASSES, check_described, three_functions

pytestmark = [pytest.mark.integration, pytest.mark.full]
INPUTS, EXAMPLES = 500, 50


@pytest.fixture(scope="module")
def classify(large_bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    with limited_classify(tmp_path_factory.mktemp("fuzzed"), large_bundles) as found:
        yield found


@pytest.fixture(scope="module")
def functions(large_bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Function]]:
    with three_functions(tmp_path_factory.mktemp("described"), large_bundles) as found:
        yield found


def test_damaged_inputs_are_answered_and_kill_nothing(classify: Limited) -> None:
    statuses = fuzz(classify, INPUTS, seed_of_run(FIXED_SEED))
    assert statuses.total() >= INPUTS
    assert min(statuses[200], statuses[400], statuses[422]) > INPUTS / 20, statuses


@pytest.mark.parametrize(("function", "document"), PASSES)
def test_openapi_json_says_what_the_function_does(
    functions: dict[str, Function], tmp_path: Path, function: str, document: str
) -> None:
    check_described(functions, function, document, tmp_path, EXAMPLES, seed_of_run(FIXED_SEED))
