"""Selection on worked examples, and its independence of the order of arrival."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.answers.select import (
    SELECTORS,
    Ranked,
    experts,
    hierarchical,
    kgmon,
    majority,
    median,
    probmul,
    programs,
    weighted,
)
from solver.grid import Candidate, as_grid, key
from tests.strategies import candidates

ANY = st.lists(candidates(), max_size=8)


def guess(color: int, logprob: float | None = None, view: str | None = None) -> Candidate:
    return Candidate("t", 0, as_grid([[color]]), "model", view=view, logprob=logprob)


def ranking(ranked: list[Ranked]) -> list[tuple[int, float]]:
    return [(int(r.grid[0, 0]), r.score) for r in ranked]


def test_majority_counts_the_views_that_agree() -> None:
    found = [guess(1, -1.0, "a"), guess(2, -9.0, "a"), guess(2, -9.0, "b")]
    assert ranking(majority(found)) == [(2, 2.0), (1, 1.0)]


def test_majority_breaks_ties_by_the_best_likelihood() -> None:
    found = [guess(1, -3.0, "a"), guess(2, -2.0, "b"), guess(3, -4.0, "c")]
    assert ranking(majority(found)) == [(2, 1.0), (1, 1.0), (3, 1.0)]


def test_weighted_adds_probabilities() -> None:
    """1: 0.5. 2: 0.3 + 0.3 = 0.6. 3: 0.4 + 0.05 = 0.45."""
    logs = {p: math.log(p) for p in (0.5, 0.3, 0.4, 0.05)}
    found = [
        guess(1, logs[0.5], "a"),
        guess(2, logs[0.3], "b"),
        guess(2, logs[0.3], "c"),
        guess(3, logs[0.4], "d"),
        guess(3, logs[0.05], "e"),
    ]
    ranked = ranking(weighted(found))
    assert [color for color, _ in ranked] == [2, 1, 3]
    assert [score for _, score in ranked] == pytest.approx(
        [math.log(0.6), math.log(0.5), math.log(0.45)]
    )


def test_weighted_prefers_agreement_among_equals() -> None:
    half = math.log(0.5)
    found = [guess(1, 0.0, "a"), guess(2, half, "b"), guess(2, half, "c")]
    assert [color for color, _ in ranking(weighted(found))] == [2, 1]


def test_weighted_stands_very_unlikely_candidates() -> None:
    assert ranking(weighted([guess(1, -1e6), guess(2, -2e6)])) == [(1, -1e6), (2, -2e6)]


@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_the_same_evidence_twice_counts_once_at_its_likeliest(name: str) -> None:
    twice = [guess(1, -5.0, "a"), guess(1, -2.0, "a"), guess(1, -7.0, "a")]
    for found in (twice, twice[::-1]):
        (ranked,) = SELECTORS[name](found)
        assert [c.logprob for c in ranked.support] == [-2.0]


@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_full_ties_are_broken_by_the_grid(name: str) -> None:
    found = [guess(2, view="a"), guess(1, view="b"), guess(3, view="c")]
    assert [color for color, _ in ranking(SELECTORS[name](found))] == [1, 2, 3]


@pytest.mark.parametrize("name", sorted(SELECTORS))
@given(found=ANY, data=st.data())
def test_the_order_of_arrival_never_matters(
    name: str, found: list[Candidate], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(found))
    one, other = SELECTORS[name](found), SELECTORS[name](shuffled)
    assert ranking(one) == ranking(other)
    for a, b in zip(one, other, strict=True):
        assert [(c.identity, c.logprob) for c in a.support] == [
            (c.identity, c.logprob) for c in b.support
        ]


@pytest.mark.parametrize("name", sorted(SELECTORS))
@given(found=ANY)
def test_every_grid_is_ranked_once_with_its_own_support(name: str, found: list[Candidate]) -> None:
    ranked = SELECTORS[name](found)
    assert sorted(key(r.grid) for r in ranked) == sorted({key(c.grid) for c in found})
    assert all(r.support[0].votes or not any(c.votes for c in r.support) for r in ranked)
    assert all(key(c.grid) == key(r.grid) for r in ranked for c in r.support)
    assert sum(len(r.support) for r in ranked) == len({c.identity for c in found})
    assert [r.score for r in ranked] == sorted((r.score for r in ranked), reverse=True)


def program(kind: str, color: int, bits: float, text: str = "f(input)") -> Candidate:
    logprob = -bits * math.log(2)
    return Candidate("t", 0, as_grid([[color]]), "synth", view=kind, program=text, logprob=logprob)


def test_programs_ranks_the_shorter_program_first() -> None:
    assert colors(programs([program("a", 1, 30), program("a", 2, 20)])) == [2, 1]


def test_programs_of_different_kinds_that_agree_beat_a_little_length() -> None:
    short = program("a", 1, 20)
    assert colors(programs([short, program("b", 2, 26), program("c", 2, 60)])) == [2, 1]
    assert colors(programs([short, program("b", 2, 26), program("b", 2, 60)])) == [1, 2]


def test_programs_scores_in_bits() -> None:
    """20 bits for the shortest, 12 for a second kind, 1 for each doubling of their number."""
    texts = ["f(input)", "g(input)", "h(input)", "i(input)"]
    same_answer = [program("ab"[i % 2], 3, 20 + i, text) for i, text in enumerate(texts)]
    (ranked,) = programs(same_answer)
    assert ranked.score == pytest.approx(-20 + 12 + 2)


def colors(ranked: list[Ranked]) -> list[int]:
    return [int(r.grid[0, 0]) for r in ranked]


def scored(color: int, *scores: float, view: str = "d0", votes: int = 1) -> Candidate:
    grid = as_grid([[color]])
    return Candidate("t", 0, grid, "model", view=view, logprob=-9.0, scores=scores, votes=votes)


def test_votes_count_as_often_as_they_were_cast() -> None:
    """1: one view, five draws. 2: two views, two draws each."""
    found = [
        scored(1, view="d0", votes=5),
        scored(2, view="d0", votes=2),
        scored(2, view="d1", votes=2),
    ]
    assert ranking(majority(found)) == [(1, 5.0), (2, 4.0)]


def test_hierarchical_gives_every_turn_three_voices() -> None:
    """The turn d0 drew 1 nine times, but d1 and d2 have it nowhere.

    d0: 1 (9 votes), 2 (2), 3 (1), and 4 (1, less likely than 3), which is one too many.
    d1: 2 (1). d2: 2 (1), 4 (1). So 2 has three turns, 1, 3 and 4 have one; of these 1 has nine
    votes, 4 has two, 3 has one.
    """
    found = [
        guess(1, -5.0, "d0.a"),
        *(replace(guess(1, -5.0, f"d0.{i}"), votes=4) for i in "bc"),
        guess(2, -5.0, "d0.a"),
        guess(2, -5.0, "d0.b"),
        guess(3, -4.0, "d0.a"),
        guess(4, -6.0, "d0.a"),
        guess(2, -7.0, "d1.a"),
        guess(2, -7.0, "d2.a"),
        guess(4, -1.0, "d2.a"),
    ]
    assert ranking(hierarchical(found)) == [(2, 3.0), (1, 1.0), (4, 1.0), (3, 1.0)]


def test_hierarchical_breaks_ties_within_a_turn_by_likelihood() -> None:
    """Four grids with one vote each: the least likely is not among the three."""
    found = [guess(color, -float(color), f"d0.{color}") for color in (4, 3, 2, 1)]
    assert ranking(hierarchical(found)) == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 0.0)]


def test_experts_multiply_the_likelihoods_of_all_views() -> None:
    """1: (-1 - 1 - 10) / 3 = -4. 2: (-3 - 3 - 3) / 3 = -3. 3 was never measured."""
    found = [guess(3, -0.1, "d0"), scored(1, -1, -1, -10), scored(2, -3, -3, -3)]
    ranked = ranking(experts(found))
    assert ranked == [(2, -3.0), (1, -4.0), (3, -math.inf)]


def test_the_median_forgives_one_view() -> None:
    found = [guess(3, -0.1, "d0"), scored(1, -1, -1, -10), scored(2, -3, -3, -3)]
    assert ranking(median(found)) == [(1, -1.0), (2, -3.0), (3, -math.inf)]


def test_probmul_adds_leads_over_three_nats() -> None:
    """1: found with leads of 2.5 and 2, measured with 1 and 2. 2: found with 0.5, measured with 0
    and -1."""
    found = [
        replace(guess(1, -0.5, "a"), scores=(-2.0, -1.0)),
        replace(guess(1, -1.0, "b"), scores=(-2.0, -1.0)),
        replace(guess(2, -2.5, "c"), scores=(-3.0, -4.0)),
    ]
    assert ranking(probmul(found)) == [(1, 7.5), (2, -0.5)]


def test_kgmon_subtracts_the_mean_nll_from_the_votes() -> None:
    """1: 2 votes - 1.5. 2: 3 votes - 4."""
    found = [
        scored(1, -1, -2, view="d0"),
        scored(1, -1, -2, view="d1"),
        scored(2, -3, -5, view="d0", votes=3),
    ]
    assert ranking(kgmon(found)) == [(1, 0.5), (2, -1.0)]


def test_weighted_adds_measured_probabilities_for_each_vote() -> None:
    """1: exp(-1) once. 2: exp(-2) three times: 0.406 against 0.368."""
    found = [scored(1, -1, -1), scored(2, -1, -3, votes=3)]
    ranked = ranking(weighted(found))
    assert [color for color, _ in ranked] == [2, 1]
    assert [score for _, score in ranked] == pytest.approx([math.log(3) - 2, -1.0])


@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_two_grids_make_two_distinct_attempts(name: str) -> None:
    found = [scored(1, view="d0"), scored(1, -1.0, view="d1"), scored(2, view="d1")]
    assert sorted(colors(SELECTORS[name](found)[:2])) == [1, 2]
