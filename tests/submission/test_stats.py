"""Intervals and paired comparisons on cases that can be worked out by hand."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submission.runs.stats import LEVEL, MIN_TASKS, difference, interval, needed_tasks

SCORES = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=40)


def binomial_quantile(n: int, p: float, level: float) -> float:
    """The smallest k/n that at least `level` of Binomial(n, p) lies at or under."""
    below = 0.0
    for k in range(n + 1):
        below += comb(n, k) * p**k * (1 - p) ** (n - k)
        if below >= level:
            return k / n
    return 1.0


@pytest.mark.parametrize(("solved", "n"), [(3, 10), (12, 40), (1, 30), (200, 400)])
def test_the_interval_of_solved_and_unsolved_tasks_is_that_of_the_binomial(
    solved: int, n: int
) -> None:
    """Resampling n tasks of which a part is solved draws from Binomial(n, part)."""
    scores = [1.0] * solved + [0.0] * (n - solved)
    exact = [binomial_quantile(n, solved / n, level) for level in (0.025, 0.975)]
    assert interval(scores, seed=0) == pytest.approx(exact, abs=1.01 / n)
    if n == 10:  # P(X <= 0) = 0.028, P(X <= 5) = 0.953, P(X <= 6) = 0.989
        assert interval(scores, seed=0) == (0.0, 0.6)


def test_two_tasks_one_solved_leave_everything_open() -> None:
    """Means 0, 1/2 and 1 come with chances 1/4, 1/2, 1/4."""
    assert interval([0.0, 1.0]) == (0.0, 1.0)
    assert interval([0.0, 1.0], level=0.4) == (0.5, 0.5)


def test_partly_solved_tasks_count_in_part() -> None:
    """Four tasks, the distribution of the mean by its 4^4 draws."""
    scores = np.array([0.0, 0.5, 0.5, 1.0])
    draws = np.stack(np.meshgrid(*[scores] * 4), axis=-1).reshape(-1, 4).mean(axis=1)
    exact = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")
    assert interval(scores) == pytest.approx(tuple(exact))


def test_equal_scores_have_an_interval_of_no_width() -> None:
    assert interval([0.5] * 7) == (0.5, 0.5)


def test_no_scores_have_no_interval() -> None:
    with pytest.raises(ValueError, match="no scores"):
        interval([])


@given(SCORES, st.integers(0, 99))
def test_the_interval_holds_the_mean_and_a_seed_gives_it_again(
    scores: list[float], seed: int
) -> None:
    low, high = interval(scores, seed)
    assert min(scores) <= low <= np.mean(scores) <= high <= max(scores)
    assert interval(scores, seed) == (low, high)
    assert interval(scores[::-1], seed) == (low, high)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """100 draws of 100 tasks solved with chance 0.3: about 95 % of intervals hold 0.3."""
    rng = np.random.default_rng(0)
    holds = 0
    for _ in range(100):
        low, high = interval((rng.random(100) < 0.3).astype(float))
        holds += low <= 0.3 <= high
    assert 89 <= holds <= 100


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(1, 0, 30), (3, 0, 30), (6, 0, 30), (5, 2, 30), (12, 3, 100)]
)
def test_p_is_that_of_mcnemars_exact_test(gained: int, lost: int, n: int) -> None:
    before = [0.0] * gained + [1.0] * lost + [0.0] * (n - gained - lost)
    after = [1.0] * gained + [0.0] * lost + [0.0] * (n - gained - lost)
    m, extreme = gained + lost, max(gained, lost)
    exact = min(1.0, 2 * sum(comb(m, k) for k in range(extreme, m + 1)) / 2**m)
    found = difference(before, after)
    assert found.p == pytest.approx(exact)
    assert found.mean == pytest.approx((gained - lost) / n)
    assert found.significant is (exact < 0.05)


def test_four_gained_tasks_are_not_enough_whatever_the_bootstrap_says() -> None:
    """With 30 tasks the interval leaves zero out, yet four equal tosses are 1 in 8."""
    found = difference([0.0] * 30, [1.0] * 4 + [0.0] * 26)
    assert found.low > 0
    assert found.p == 0.125
    assert not found.significant


GAINS = st.lists(
    st.sampled_from([0.0, 1 / 3, -1 / 3, 0.5, -0.5, 1.0, -1.0]), min_size=1, max_size=9
)


@given(GAINS)
def test_p_is_the_part_of_all_flips_of_signs_with_a_sum_as_large(gains: list[float]) -> None:
    flips = np.array(list(product((-1, 1), repeat=len(gains))))
    sums = np.abs(flips @ np.abs(gains))
    exact = float((sums >= abs(sum(gains)) - 1e-9).mean())
    assert difference([0.0] * len(gains), gains).p == pytest.approx(exact)


def test_the_fewest_tasks_that_are_significant() -> None:
    for n in (MIN_TASKS - 1, MIN_TASKS):
        found = difference([0.0] * 40, [1.0] * n + [0.0] * (40 - n))
        assert (found.p < 1 - LEVEL) is (n == MIN_TASKS)


def test_so_many_tasks_as_are_needed_show_the_gain_four_times_in_five() -> None:
    """Of 100 tasks 15 are gained and 5 are lost."""
    gains = np.array([1.0] * 15 + [-1.0] * 5 + [0.0] * 80)
    needed = needed_tasks(gains)
    assert needed == 155  # (1.960 * sqrt(0.2) + 0.842 * sqrt(0.19)) ** 2 / 0.1 ** 2
    rng, shown = np.random.default_rng(0), 0
    for _ in range(200):
        drawn = rng.choice(gains, needed)
        shown += difference(np.zeros(needed), drawn).p < 1 - LEVEL
    assert 0.7 < shown / 200 < 0.9
    assert needed_tasks(np.zeros(5)) is None


def test_the_same_scores_do_not_differ() -> None:
    scores = [0.0, 1.0, 0.5, 1.0]
    found = difference(scores, scores)
    assert (found.mean, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert not found.significant


def test_pairing_sees_what_two_intervals_cannot() -> None:
    """12 tasks gained and none lost among 400, half of them solved: the two intervals overlap."""
    before = [1.0] * 200 + [0.0] * 200
    after = [1.0] * 212 + [0.0] * 188
    assert interval(before)[1] > interval(after)[0]
    assert difference(before, after).significant


def test_a_constant_gain_is_certain() -> None:
    found = difference([0.0] * 20, [0.5] * 20)
    assert (found.low, found.high) == (0.5, 0.5)
    assert found.significant


def test_many_comparisons_need_more_evidence() -> None:
    before, after = [0.0] * 30, [1.0] * 7 + [0.0] * 23  # p = 1/64
    assert difference(before, after).significant
    assert not difference(before, after, comparisons=10).significant


@given(SCORES, SCORES, st.integers(0, 99))
def test_which_comes_first_only_changes_the_sign(
    one: list[float], other: list[float], seed: int
) -> None:
    n = min(len(one), len(other))
    there, back = difference(one[:n], other[:n], seed), difference(other[:n], one[:n], seed)
    assert there.mean == -back.mean
    assert there.p == back.p
    assert there.low <= there.mean <= there.high


def test_chance_alone_is_rarely_called_a_difference() -> None:
    """Two configurations that solve every task with the same chance: 5 % at most differ."""
    rng = np.random.default_rng(1)
    chances = rng.random(60)
    wrong = sum(
        difference(
            (rng.random(60) < chances).astype(float), (rng.random(60) < chances).astype(float)
        ).significant
        for _ in range(100)
    )
    assert wrong <= 8


def test_lists_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="3 scores cannot be paired with 2"):
        difference([1.0, 0.0, 1.0], [1.0, 0.0])
