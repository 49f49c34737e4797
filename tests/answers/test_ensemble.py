"""Two attempts from candidates and template."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.answers.ensemble import RULES, Evidence, answer
from solver.answers.select import SELECTORS
from solver.data.template import template
from solver.grid import Candidate, Pair, Task, as_grid, is_grid, key, same
from tests.strategies import candidates, tasks

TWO_TESTS = Task("t", (Pair(as_grid([[1]]), as_grid([[2]])),), (as_grid([[1]]), as_grid([[3]])))


def found(test: int, color: int, logprob: float = -1.0) -> Candidate:
    return Candidate("t", test, as_grid([[color]]), "synth", program=str(color), logprob=logprob)


@given(st.data(), tasks(4), st.sampled_from(["majority", "weighted"]))
def test_every_test_input_gets_two_distinct_grids(
    data: st.DataObject, task: Task, selector: str
) -> None:
    some = data.draw(st.lists(candidates(task.id, len(task.tests)), max_size=6))
    given_answer = answer(task, some, template(task), selector)
    assert len(given_answer.attempts) == len(task.tests)
    for first, second in given_answer.attempts:
        assert is_grid(first.grid)
        assert is_grid(second.grid)
        assert not same(first.grid, second.grid)
    assert 0 <= given_answer.confidence <= 1


@given(st.data(), tasks(3))
def test_the_order_of_arrival_never_matters(data: st.DataObject, task: Task) -> None:
    some = data.draw(st.lists(candidates(task.id, len(task.tests)), max_size=6))
    shuffled = data.draw(st.permutations(some))
    one, other = (answer(task, list(each), template(task)) for each in (some, shuffled))
    assert (one.state, one.confidence) == (other.state, other.confidence)
    for a, b in zip(one.attempts, other.attempts, strict=True):
        assert [(x.grid.tolist(), x.source) for x in a] == [(x.grid.tolist(), x.source) for x in b]


def test_the_two_best_grids_are_handed_in() -> None:
    guesses = [found(0, 4, -3.0), found(0, 5, -1.0), found(0, 6, -2.0), found(1, 7)]
    given_answer = answer(TWO_TESTS, guesses, template(TWO_TESTS))
    first, second = given_answer.attempts[0]
    assert (first.grid.tolist(), second.grid.tolist()) == ([[5]], [[6]])
    assert (first.source, second.source) == ("synth", "synth")
    assert given_answer.state == "program"


def test_a_free_place_goes_to_the_template_but_never_to_a_grid_already_there() -> None:
    fallback = template(TWO_TESTS)
    same_as_template = found(0, int(fallback[0][0].grid[0, 0]))
    given_answer = answer(TWO_TESTS, [same_as_template], fallback)
    first, second = given_answer.attempts[0]
    assert (first.source, second.source) == ("synth", "template")
    assert same(second.grid, fallback[0][1].grid)
    assert [a.source for a in given_answer.attempts[1]] == ["template", "template"]


def guess(color: int, logprob: float) -> Candidate:
    return Candidate("t", 0, as_grid([[color]]), "model", logprob=logprob, scores=(logprob,))


def test_a_program_and_the_model_get_an_attempt_each() -> None:
    task = Task("t", TWO_TESTS.train, TWO_TESTS.tests[:1])
    some = [found(0, 5), found(0, 6, -3.0), guess(7, -1.0), guess(8, -0.5)]
    (two,) = answer(task, some, template(task)).attempts
    assert [int(attempt.grid[0, 0]) for attempt in two] == [5, 8]
    assert [attempt.source for attempt in two] == ["synth", "model"]


def test_where_program_and_model_agree_the_next_program_is_second() -> None:
    task = Task("t", TWO_TESTS.train, TWO_TESTS.tests[:1])
    some = [found(0, 5), found(0, 6, -3.0), guess(5, -0.1), guess(7, -1.0)]
    given_answer = answer(task, some, template(task))
    assert given_answer.state == "agreement"
    assert [int(attempt.grid[0, 0]) for attempt in given_answer.attempts[0]] == [5, 6]


def test_the_best_program_stays_first_where_the_model_has_it_further_down() -> None:
    task = Task("t", TWO_TESTS.train, TWO_TESTS.tests[:1])
    some = [found(0, 5), found(0, 6, -3.0), guess(7, -0.1), guess(5, -1.0)]
    (two,) = answer(task, some, template(task)).attempts
    assert [int(attempt.grid[0, 0]) for attempt in two] == [5, 7]


def test_the_model_alone_answers_by_its_own_measure() -> None:
    task = Task("t", TWO_TESTS.train, TWO_TESTS.tests[:1])
    given_answer = answer(task, [guess(7, -1.0), guess(8, -0.5)], template(task))
    assert given_answer.state == "model"
    assert [int(attempt.grid[0, 0]) for attempt in given_answer.attempts[0]] == [8, 7]


def test_a_task_half_answered_is_a_fallback_without_confidence() -> None:
    half = answer(TWO_TESTS, [found(0, 4)], template(TWO_TESTS))
    assert (half.state, half.confidence) == ("fallback", 0.0)


def test_agreement_gives_more_confidence_than_a_lone_program_and_dispute_gives_less() -> None:
    task = Task("t", TWO_TESTS.train, TWO_TESTS.tests[:1])
    grid = as_grid([[4]])
    lone = [Candidate("t", 0, grid, "synth", program="a")]

    def confidence(guesses: list[Candidate]) -> float:
        return answer(task, guesses, template(task)).confidence

    disputed, agreed = [*lone, guess(5, -0.1)], [*lone, guess(4, -0.1)]
    assert confidence(disputed) < confidence(lone) < confidence(agreed) < 1


# --- rules ----------------------------------------------------------------------------

ONE_TEST = Task("t", TWO_TESTS.train, TWO_TESTS.tests[:1])
# By program: 5, 6. By the model: 7, 6, 8.
DISPUTED = [found(0, 5), found(0, 6, -3.0), guess(7, -0.1), guess(6, -0.5), guess(8, -0.9)]
LONE = [found(0, 5), guess(7, -0.1), guess(8, -0.5)]
AGREED = [found(0, 5), found(0, 6, -3.0), guess(5, -0.1), guess(7, -0.5)]


def order(rule: str, some: list[Candidate]) -> list[int]:
    return [int(ranked.grid[0, 0]) for ranked in RULES[rule](Evidence(tuple(some)))]


def test_each_rule_has_its_order() -> None:
    orders = {rule: order(rule, DISPUTED) for rule in RULES}
    assert orders == {
        "each": [5, 7, 6, 8],
        "likeliest": [5, 7, 6, 8],
        "programs-first": [5, 6, 7, 8],
        "guesses-first": [7, 6, 8, 5],
        "lone-program": [7, 6, 8, 5],
        "fused": [5, 6, 7, 8],  # 1, 1/2 + 1/2, 1, 1/3
        "together": [7, 6, 8, 5],  # what was never measured comes last
    }


def test_a_program_that_the_model_finds_likelier_than_its_guesses_is_second() -> None:
    likelier = replace(found(0, 6, -3.0), engine="model", scores=(-0.05,), votes=0)
    assert order("each", DISPUTED)[:2] == [5, 7]
    assert order("each", [*DISPUTED, likelier])[:2] == [5, 6]
    assert order("each", [*DISPUTED, replace(likelier, scores=(-0.2,))])[:2] == [5, 7]


def test_what_nobody_found_is_not_handed_in() -> None:
    measured = replace(found(0, 6, -3.0), engine="model", scores=(-0.05,), votes=0)
    one, other = (answer(ONE_TEST, some, template(ONE_TEST)) for some in (LONE, [measured, *LONE]))
    assert one.confidence == other.confidence
    assert [a.grid.tolist() for a in one.attempts[0]] == [
        a.grid.tolist() for a in other.attempts[0]
    ]


def test_a_long_program_gives_way_to_guesses_that_views_agree_on() -> None:
    agreed = [replace(guess(7, -0.6), view=f"d{i}") for i in range(4)]
    other = [replace(guess(8, -0.8), view=f"d{i}") for i in range(4, 7)]
    assert order("likeliest", [found(0, 5, -10.0), *agreed, *other]) == [5, 7, 8]
    assert order("likeliest", [found(0, 5, -60.0), *agreed, *other]) == [7, 8, 5]
    assert order("each", [found(0, 5, -60.0), *agreed, *other]) == [5, 7, 8]


def test_a_lone_program_and_an_agreed_one_come_first() -> None:
    assert order("lone-program", LONE) == [5, 7, 8]
    assert order("lone-program", AGREED) == [5, 6, 7]


@pytest.mark.parametrize(
    ("rule", "some", "state"),
    [
        ("each", DISPUTED, "program"),
        ("guesses-first", DISPUTED, "model"),
        ("together", DISPUTED, "model"),
        ("guesses-first", AGREED, "agreement"),
        ("fused", AGREED, "agreement"),
        ("programs-first", LONE[1:], "model"),
        ("together", [], "fallback"),
    ],
)
def test_the_state_says_where_the_first_attempt_comes_from(
    rule: str, some: list[Candidate], state: str
) -> None:
    assert answer(ONE_TEST, some, template(ONE_TEST), rule=rule).state == state


@pytest.mark.parametrize("rule", sorted(RULES))
@given(st.data())
def test_a_rule_orders_every_grid_once_whatever_the_order_of_arrival(
    rule: str, data: st.DataObject
) -> None:
    some = data.draw(st.lists(candidates(), max_size=8))
    selector = data.draw(st.sampled_from(sorted(SELECTORS)))
    shuffled = data.draw(st.permutations(some))
    orders = [
        [key(ranked.grid) for ranked in RULES[rule](Evidence(tuple(each), selector))]
        for each in (some, shuffled)
    ]
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == sorted({key(candidate.grid) for candidate in some})
