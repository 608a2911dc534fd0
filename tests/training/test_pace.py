"""lab/training/pace.py: limits on how often files are written."""

import time
from itertools import pairwise

import pytest

from lab.training.pace import Pace


@pytest.mark.parametrize(("cost", "wait"), [(0.1, 20), (0.5, 20), (2.0, 66)])
def test_pages_take_at_most_their_share_of_a_run(monkeypatch, cost, wait) -> None:
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace, made = Pace(20, 3 / 100, last_run=1_000.0, cost=0.5), []
    while now[0] < 2_000:
        now[0] += 0.25
        if pace.is_due():
            made.append(now[0])
            with pace.timed():
                now[0] += cost
        # The first may take longer than expected.
        assert len(made) * cost <= 0.03 * (now[0] - 1_000) + max(0, cost - 0.5)
    assert 16 < made[0] - 1_000 < 18
    assert all(wait <= later - sooner < wait + 4 for sooner, later in pairwise(made))


def test_without_began_the_first_time_is_at_once() -> None:
    pace = Pace(20, 3 / 100)
    assert pace.is_due()
    with pace.timed():
        pass
    assert not pace.is_due()
