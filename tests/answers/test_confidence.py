"""Confidence: more for agreement, less for dispute, whatever the order of arrival."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from solver.answers.confidence import (
    EVEN_BITS,
    HALVING_BITS,
    UNLEARNED,
    guess_chances,
    of_both,
    program_chances,
)
from solver.answers.select import SELECTORS
from solver.grid import Candidate, as_grid


def program(color: int, kind: str, name: str = "", cost: float = 1.0) -> Candidate:
    text = name or f"{color}{kind}"
    return Candidate("t", 0, as_grid([[color]]), "synth", kind, -cost, program=text)


def guess(color: int, view: int, p: float = 0.5, scores: tuple[float, ...] = ()) -> Candidate:
    """Scores are probabilities here."""
    logs = tuple(map(math.log, scores))
    return Candidate("t", 0, as_grid([[color]]), "model", f"d{view}", math.log(p), scores=logs)


def programs(*found: Candidate) -> list[float]:
    return program_chances(SELECTORS["programs"](found))


def guesses(*found: Candidate) -> float:
    return guess_chances(SELECTORS["experts"](found))[0]


def of_length(color: int, bits: float, name: str = "") -> Candidate:
    return program(color, "grids", name, bits * math.log(2))


def test_a_short_program_is_believed_and_a_long_one_is_not() -> None:
    assert programs(of_length(1, EVEN_BITS)) == [pytest.approx(1 / 2)]
    assert programs(of_length(1, EVEN_BITS - HALVING_BITS)) == [pytest.approx(2 / 3)]
    assert programs(of_length(1, EVEN_BITS + 2 * HALVING_BITS)) == [pytest.approx(1 / 5)]
    assert programs(of_length(1, 1e9)) == [pytest.approx(0.0)]
    longer_too = (of_length(1, EVEN_BITS), of_length(1, EVEN_BITS + 9, "another"))
    assert programs(*longer_too) == [pytest.approx(1 / 2)]
    assert programs() == []


def test_each_next_program_is_believed_a_quarter_as_much() -> None:
    found = [of_length(color, EVEN_BITS + color) for color in range(3)]
    first, second, third = programs(*found)
    assert [second, third] == pytest.approx([first / 4, first / 16])
    assert first == pytest.approx(1 / 2)


def test_what_was_only_measured_has_no_views_behind_it() -> None:
    own = [guess(1, view, scores=(0.5,) * 4) for view in range(4)]
    told = replace(program(2, "grids"), engine="model", votes=0, scores=(math.log(0.5),) * 4)
    chances = guess_chances(SELECTORS["experts"]([*own, told]))
    assert sorted(chances) == [pytest.approx(1 / 6 / 2), pytest.approx(5 / 6 / 2)]
    unmeasured = guess(3, 9, 0.9)
    assert guess_chances(SELECTORS["experts"]([*own, unmeasured]))[1] == 0.0


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


def test_a_model_that_does_not_know_the_demonstrations_is_believed_less() -> None:
    voices = [guess(1, view) for view in range(8)]
    half = math.log(2) / UNLEARNED / 2  # a grid of one cell takes two tokens
    unlearned = [replace(voice, unlearned=half) for voice in voices]
    assert guesses(*unlearned) == pytest.approx(guesses(*voices) / 2)
    # Whoever had learned most vouches for what another found, too.
    assert guesses(*unlearned[:7], voices[7]) == pytest.approx(guesses(*voices))
    large = Candidate("t", 0, as_grid([[1] * 4] * 2), "model", "d0", -1.0, unlearned=half)
    lone = replace(large, unlearned=0.0)
    ratio = guesses(large) / guesses(lone)
    assert ratio == pytest.approx(2.0**-5)  # ten tokens


def test_program_and_guess_are_two_witnesses() -> None:
    assert of_both(0.8, 0.5, agree=True) == pytest.approx(0.9)
    # At most one is right: 0.8 * 0.5 of all that can be, 1 - 0.8 * 0.5.
    assert of_both(0.8, 0.5, agree=False) == pytest.approx(0.4 / 0.6)
    assert of_both(0.8, 0.0, agree=False) == pytest.approx(0.8)
