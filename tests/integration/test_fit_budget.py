"""A fit keeps its time budget, on a steady machine and on one that becomes slower."""

from typing import Any

import pytest

from conftest import printed_json

BUDGET_S, RATE = 8.0, 1e-3
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """tests/fit_budget.py: a step takes 20 ms of a fake clock, so that the load of this machine has no effect."""
    return dict(printed_json("fit_budget.py", tmp_path_factory.mktemp("budget")))


def test_as_many_epochs_are_planned_as_fit_into_the_budget(fits: dict[str, Any]) -> None:
    steady = fits["steady"]
    # 12 steps and two evaluations on tune to measure, then 10 steps and one evaluation per epoch: (8 - 0.34) / 0.25
    assert steady["plan"]["epochs"] == 30
    assert steady["plan"]["step_ms"] == pytest.approx(20, abs=0.01)
    assert steady["seen"] == list(range(1, 31))
    assert 0.95 * BUDGET_S < steady["took_s"] <= BUDGET_S


def test_on_a_machine_that_becomes_slower_the_fit_ends_in_time_with_a_rate_near_zero(fits: dict[str, Any]) -> None:
    slower = fits["slower"]
    assert slower["plan"] == fits["steady"]["plan"]
    assert len(slower["seen"]) < 30
    assert BUDGET_S <= slower["took_s"] <= 1.1 * BUDGET_S
    assert slower["last_rate"] < 0.02 * RATE


def test_slow_first_steps_do_not_shrink_the_plan(fits: dict[str, Any]) -> None:
    slow = fits["slow-at-first"]
    assert slow["plan"]["step_ms"] == pytest.approx(20, abs=0.01)
    assert 0.95 * 45 < slow["took_s"] <= 45


def test_epochs_get_half_of_the_budget_if_compiling_took_all_of_it(fits: dict[str, Any]) -> None:
    compiles = fits["compiles"]
    # 9 s to compile, 0.34 s to measure; then 4 s of epochs of 0.25 s
    assert compiles["plan"]["epochs"] == 16
    assert compiles["seen"] == list(range(1, 17))
    assert 9.34 + 3.75 <= compiles["took_s"] <= 9.34 + 4
    assert max(compiles["rates"]) > 0.9 * RATE
    assert compiles["last_rate"] < 0.02 * RATE


def test_an_epoch_that_becomes_too_long_is_cut_short(fits: dict[str, Any]) -> None:
    few = fits["few-epochs"]
    assert few["plan"]["epochs"] == 3
    assert BUDGET_S <= few["took_s"] <= 1.1 * BUDGET_S
    assert few["last_rate"] < 0.02 * RATE


def test_a_resumed_fit_counts_the_time_spent_before(fits: dict[str, Any]) -> None:
    died, resumed = fits["died"], fits["taken-up"]
    assert resumed["plan"] == died["plan"]
    assert resumed["seen"][0] == died["seen"][-1]  # the one whose state was not stored
    assert BUDGET_S <= died["took_s"] + resumed["took_s"] <= 1.1 * BUDGET_S
    assert resumed["last_rate"] < 0.02 * RATE
