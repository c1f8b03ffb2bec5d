"""Large validation splits are sampled, the same way for every arm, floor and sitting."""

from __future__ import annotations

import numpy as np
import pytest

from crosstune.experiment.sitting import scored_rows


def test_all_rows_when_there_is_time_or_no_clock() -> None:
    assert np.array_equal(scored_rows(250, 1.0, 0), np.arange(250))
    assert np.array_equal(scored_rows(1200, 240.0, 0), np.arange(1200))
    assert np.array_equal(scored_rows(10**6, None, 0), np.arange(10**6))


@pytest.mark.parametrize(("seconds", "count"), [(1.0, 300), (60.0, 300), (240.0, 1200)])
def test_a_sample_that_depends_on_the_request_alone(seconds: float, count: int) -> None:
    first = scored_rows(5000, seconds, 3)
    assert len(first) == len(set(first.tolist())) == count
    assert np.array_equal(first, np.sort(first))
    assert np.array_equal(first, scored_rows(5000, seconds, 3))
    assert not np.array_equal(first, scored_rows(5000, seconds, 4))
    # not the head of the file: rows are often sorted
    assert first.max() > 4000
