"""Training jobs killed at random moments: each is resumed or starts again, and no incomplete version serves."""

from pathlib import Path

import pytest

from killed_trainings import check_killed_trainings, draw_moments

KILLS, SEED = 20, 6


@pytest.mark.timeout(7200)  # a busy machine is slow
def test_trainings_killed_at_twenty_random_moments_are_resumed(tmp_path: Path) -> None:
    check_killed_trainings(tmp_path, draw_moments(SEED, KILLS))
