"""The cost model: it finds rates that explain what jobs took, from few jobs as from many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.config import Stage
from solver.grid import Pair, Task, as_grid
from solver.schedule.backlog import Backlog
from solver.schedule.cost import (
    DEVICE_PRIOR,
    PRIOR,
    Observed,
    Rates,
    Work,
    calibrate,
    work_of,
)

WORKS = [Work(int(t), int(a)) for t, a in np.random.default_rng(0).integers(20, 2000, (64, 2))]


def test_a_task_is_its_tokens_and_the_area_of_its_outputs() -> None:
    pair = Pair(as_grid([[1, 2]]), as_grid([[1, 2], [3, 4]]))
    task = Task("t", (pair, pair), (as_grid([[5, 6]]),))
    assert work_of(task) == Work(tokens=2 * (3 + 6) + 3, area=4)


@pytest.mark.parametrize("rates", [Rates(3, 0.01, 0.2), Rates(0, 0.5, 0), Rates(10, 0, 0.001)])
def test_many_jobs_show_the_rates(rates: Rates) -> None:
    fitted = calibrate([Observed(work, rates.seconds(work)) for work in 30 * WORKS])
    for work in WORKS:
        assert fitted.seconds(work) == pytest.approx(rates.seconds(work), rel=0.1)
    assert fitted.jobs == 30 * len(WORKS)


def test_a_few_jobs_set_the_scale_and_leave_the_proportions() -> None:
    fitted = calibrate([Observed(WORKS[0], 0.01 * PRIOR.seconds(WORKS[0]))])
    for work in WORKS:
        assert fitted.seconds(work) == pytest.approx(0.01 * PRIOR.seconds(work), rel=0.01)


@pytest.mark.parametrize("assumed", [PRIOR, DEVICE_PRIOR])
def test_each_kind_of_place_has_its_own_first_guess(assumed: Rates) -> None:
    observed = [Observed(WORKS[0], 0.01 * assumed.seconds(WORKS[0]))]
    fitted = calibrate(observed, assumed)
    for work in WORKS:
        assert fitted.seconds(work) == pytest.approx(0.01 * assumed.seconds(work), rel=0.01)
    stage = Stage("model", device=assumed is DEVICE_PRIOR)
    assert Backlog(WORKS, [stage]).first[0].rates == assumed


def test_a_job_that_was_cut_would_have_taken_longer() -> None:
    ended = [Observed(work, 0.01 * PRIOR.seconds(work)) for work in WORKS]
    slow = 0.03 * PRIOR.seconds(WORKS[0])
    by_slice = calibrate([*ended, Observed(WORKS[0], slow, cut=True)])
    early = calibrate([*ended, Observed(WORKS[0], 1e-3, cut=True)])
    plain = calibrate(ended)
    assert by_slice.seconds(WORKS[0]) > plain.seconds(WORKS[0])
    # Cut long before what is expected of it, it shows nothing.
    assert early.seconds(WORKS[0]) == pytest.approx(plain.seconds(WORKS[0]), rel=0.01)


@given(
    st.lists(
        st.tuples(st.integers(1, 20_000), st.integers(0, 900), st.floats(0, 1e5), st.booleans()),
        min_size=1,
        max_size=20,
    )
)
def test_no_cost_is_ever_negative_or_infinite(jobs: list[tuple[int, int, float, bool]]) -> None:
    observed = [Observed(Work(t, a), seconds, cut) for t, a, seconds, cut in jobs]
    rates = calibrate(observed)
    assert min(rates.fixed, rates.token, rates.cell) >= 0
    assert all(0 < rates.seconds(job.work) < 1e12 for job in observed)
