"""Confidence: more for agreement, less for dispute, whatever the order of arrival."""

from __future__ import annotations

import math

import pytest

from solver.confidence import of_both, of_guesses, of_programs
from solver.grid import Candidate, as_grid
from solver.select import SELECTORS


def program(color: int, kind: str, name: str = "", cost: float = 1.0) -> Candidate:
    text = name or f"{color}{kind}"
    return Candidate("t", 0, as_grid([[color]]), "synth", kind, -cost, program=text)


def guess(color: int, view: int, p: float = 0.5, scores: tuple[float, ...] = ()) -> Candidate:
    """Scores are probabilities here."""
    logs = tuple(map(math.log, scores))
    return Candidate("t", 0, as_grid([[color]]), "model", f"d{view}", math.log(p), scores=logs)


def programs(*found: Candidate) -> float:
    return of_programs(SELECTORS["programs"](found))


def guesses(*found: Candidate) -> float:
    return of_guesses(SELECTORS["experts"](found))


def test_a_program_is_believed_for_those_that_agree_with_it() -> None:
    lone = programs(program(1, "grids"))
    assert lone == pytest.approx(2 / 3)
    one_kind = programs(*(program(1, "grids", str(i)) for i in range(3)))
    two_kinds = programs(program(1, "grids"), program(1, "parts"))
    assert lone < one_kind == pytest.approx(3 / 4)
    assert one_kind < two_kinds < programs(*(program(1, str(i)) for i in range(8))) < 1


def test_only_the_strongest_other_program_counts_against_one() -> None:
    mine = [program(1, kind) for kind in ("grids", "parts")]
    one = programs(*mine, program(2, "cells"))
    many = programs(*mine, *(program(color, "cells") for color in (2, 3, 4)))
    assert many == one < programs(*mine)
    assert programs(program(1, "grids"), program(2, "cells")) == pytest.approx(1 / 2)


def test_views_that_agree_settle_a_guess_and_views_that_do_not_leave_it_open() -> None:
    settled = guesses(*(guess(1, view) for view in range(8)))
    assert settled == pytest.approx(9 / 10)
    split = guesses(*(guess(1 + view // 4, view) for view in range(8)))
    assert split == pytest.approx(5 / 10)
    assert guesses(*(guess(view, view) for view in range(8))) == pytest.approx(2 / 10)


def test_a_view_votes_for_its_likeliest_grid_alone() -> None:
    voices = [guess(1, view, 0.6) for view in range(4)]
    more = [guess(2, view, 0.3) for view in range(4)]
    assert guesses(*voices, *more) == guesses(*voices) == pytest.approx(5 / 6)


def test_a_view_that_was_measured_and_found_nothing_votes_for_nothing() -> None:
    assert guesses(guess(1, 0, scores=(0.5,) * 8)) == pytest.approx(2 / 10)


def test_the_margin_in_likelihood_counts() -> None:
    def with_rival(p: float) -> float:
        first = [guess(1, view, 0.6, (0.6,) * 4) for view in range(4)]
        return guesses(*first, guess(2, 0, 0.1, (p,) * 4))

    assert with_rival(0.6 / 99) == pytest.approx(0.99 * 5 / 6)
    assert with_rival(0.2) == pytest.approx(0.75 * 5 / 6)
    assert with_rival(1e-300) == pytest.approx(5 / 6)


def test_program_and_guess_are_two_witnesses() -> None:
    assert of_both(0.8, 0.5, agree=True) == pytest.approx(0.9)
    # At most one is right: 0.8 * 0.5 of all that can be, 1 - 0.8 * 0.5.
    assert of_both(0.8, 0.5, agree=False) == pytest.approx(0.4 / 0.6)
    assert of_both(0.8, 0.0, agree=False) == pytest.approx(0.8)
