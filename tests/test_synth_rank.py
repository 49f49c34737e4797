"""Ranking: short programs first, agreement of sub-engines counts."""

import numpy as np

from solver.grid import freeze
from solver.synth.program import Call, Solution
from solver.synth.rank import AGREEMENT_BITS, Found, answers


def found(engine, value, cost, name="f"):
    grid = freeze(np.array([[value]], dtype=np.uint8))
    return Found(engine, Solution(Call(name), (grid,), cost))


def values(ranked):
    return [int(answer.grid[0, 0]) for answer in ranked]


def test_the_shorter_program_comes_first():
    assert values(answers([found("a", 1, 30.0), found("a", 2, 20.0)], 0)) == [2, 1]


def test_agreement_of_different_engines_beats_a_little_length():
    cheap = found("a", 1, 20.0)
    agreed = [found("b", 2, 20.0 + AGREEMENT_BITS / 2), found("c", 2, 60.0)]
    assert values(answers([cheap, *agreed], 0)) == [2, 1]
    assert values(answers([cheap, found("b", 2, 26.0), found("b", 2, 60.0)], 0)) == [1, 2]


def test_confidence_counts_different_programs():
    same_twice = [found("a", 1, 20.0), found("b", 1, 21.0)]
    assert answers(same_twice, 0)[0].confidence == 1
    assert answers([*same_twice, found("a", 1, 25.0, "g")], 0)[0].confidence == 2


def test_nothing_found_gives_no_answer():
    assert answers([], 0) == []
