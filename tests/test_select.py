"""Selection on worked examples, and its independence of the order of arrival."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.grid import Candidate, as_grid, key
from solver.select import SELECTORS, Ranked, majority, programs, weighted
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
