"""Ten thousand damaged inputs and a thousand examples for each operation of openapi.json."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzzing import fuzz, seed_of_run
from limited import limited_classify
from mutated_pictures import check_decoders
from schema_checks import PASSES, check_described, three_functions

INPUTS, WARM_UP_INPUTS, EXAMPLES, PICTURES = 10_000, 1_000, 1_000, 50_000
MAX_GROWTH_MB = 20


def test_ten_thousand_damaged_inputs_are_answered_and_cost_no_memory(large_bundles: Path, tmp_path: Path) -> None:
    run_seed = seed_of_run()
    with limited_classify(tmp_path, large_bundles) as classify:
        memory: dict[int, float] = {}

        def after(inputs: int) -> None:
            if inputs in (WARM_UP_INPUTS, INPUTS):
                memory[inputs] = classify.pss_mb()

        fuzz(classify, INPUTS, run_seed, after)
    print(f"seed {run_seed}: {memory[WARM_UP_INPUTS]:.0f} MB after 1,000 inputs, {memory[INPUTS]:.0f} MB after 10,000")
    assert memory[INPUTS] < memory[WARM_UP_INPUTS] + MAX_GROWTH_MB, f"seed {run_seed}: {memory}"


def test_the_decoders_read_or_refuse_every_damaged_picture() -> None:
    check_decoders(seed_of_run(), PICTURES)


@pytest.mark.parametrize(("function", "document"), PASSES)
def test_openapi_json_says_what_the_function_does(
    large_bundles: Path, tmp_path: Path, function: str, document: str
) -> None:
    with three_functions(tmp_path, large_bundles) as functions:
        check_described(functions, function, document, tmp_path / "schemathesis", EXAMPLES, seed_of_run())
