"""Jobs of training killed at random moments: each is taken up or starts over, and nobody is served half a version."""

from pathlib import Path

import pytest

from killing import draw_moments, survive

KILLS, SEED = 20, 6


@pytest.mark.timeout(7200)  # on a busy machine each end is waited for
def test_jobs_killed_at_twenty_random_moments_end_well_each_time(tmp_path: Path) -> None:
    survive(tmp_path, draw_moments(SEED, KILLS))
