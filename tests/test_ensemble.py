"""Two attempts from candidates and template."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from solver.ensemble import answer
from solver.grid import Candidate, Pair, Task, as_grid, is_grid, same
from solver.template import template
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
    agreed = [Candidate("t", 0, grid, "synth", program=p) for p in ("a", "b", "c")]

    def confidence(guesses: list[Candidate]) -> float:
        return answer(task, guesses, template(task)).confidence

    disputed = [agreed[0], found(0, 5, 0.0)]
    assert confidence(disputed) < confidence(agreed[:1]) < confidence(agreed) < 1
