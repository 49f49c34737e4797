"""Provisional reports count until a final one of the same evidence is there, and never beside it:
in answers, in counts, and in a run that is played again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.answers.ensemble import RULES, answer
from solver.answers.select import SELECTORS, Ranked
from solver.config import Stage
from solver.data.journal import Journal, candidate_of, candidate_record
from solver.data.template import template
from solver.deadline import RealClock
from solver.grid import Candidate, Grid, Task, as_grid, key, same, settled
from solver.runtime.board import Board
from submission.lab.lab import Lab
from submission.lab.playback import Machine, play
from submission.report.findings import engines, findings
from submission.runs.history import read_history
from submission.runs.recorded import read_run
from tests.fakes import toy_tasks
from tests.recordings import CONFIG, Heard, guess, job, write_run, wrong
from tests.strategies import candidates

ANY = st.lists(candidates(), max_size=8)
TASK = toy_tasks(1)[0]


def early(candidate: Candidate, logprob: float, votes: int) -> Candidate:
    """The candidate as a job may have reported it before measuring."""
    return replace(candidate, logprob=logprob, votes=votes, scores=(), provisional=True)


def seen(ranked: list[Ranked]) -> list[tuple[bytes, float, list[object]]]:
    return [
        (key(r.grid), r.score, [(c.identity, c.logprob, c.scores, c.votes) for c in r.support])
        for r in ranked
    ]


@pytest.mark.parametrize("name", sorted(SELECTORS))
@given(found=ANY, logprob=st.floats(-50, 0), votes=st.integers(1, 9), data=st.data())
def test_a_final_report_stands_as_if_there_had_been_no_other(
    name: str, found: list[Candidate], logprob: float, votes: int, data: st.DataObject
) -> None:
    """Whatever the provisional one said, and whichever job sent it."""
    before = [early(candidate, logprob, votes) for candidate in found if candidate.votes]
    mixed = data.draw(st.permutations([*found, *before]))
    assert seen(SELECTORS[name](mixed)) == seen(SELECTORS[name](found))


@given(found=ANY)
def test_without_a_final_report_the_provisional_one_counts(found: list[Candidate]) -> None:
    only = [replace(candidate, provisional=True) for candidate in found]
    assert settled(only) == only
    for select in SELECTORS.values():
        assert seen(select(only)) == seen(select(found))


@pytest.mark.parametrize("rule", sorted(RULES))
def test_answers_and_what_is_known_are_those_of_final_reports(rule: str, tmp_path: Path) -> None:
    grids = [as_grid([[color]]) for color in range(3)]
    final = [
        Candidate(TASK.id, 0, grid, "model", f"d{view}", -1.0 - color, scores=(-2.0, -1.0 * color))
        for color, grid in enumerate(grids)
        for view in range(3 - color)
    ]
    before = [early(candidate, -0.5, 7) for candidate in final]
    plain = answer(TASK, final, template(TASK), rule=rule)
    both = answer(TASK, [*before, *final], template(TASK), rule=rule)
    assert [a.grid.tolist() for a in both.attempts[0]] == [
        a.grid.tolist() for a in plain.attempts[0]
    ]
    assert both.confidence == plain.confidence
    journal = Journal(tmp_path / "journal")
    board = Board([TASK], "experts", rule, journal, tmp_path / "s.json", RealClock())
    for candidate in [*before, *final]:
        board.candidate(0, candidate)
    assert len(board.known(0)) == 3
    assert not any(candidate.provisional for candidate in board.known(0))
    journal.close()


def test_a_journal_line_says_so_and_older_ones_do_not() -> None:
    one = early(Candidate("t", 0, as_grid([[1]]), "model"), -1.0, 1)
    record = candidate_record(one)
    record.pop("kind")
    assert candidate_of(record).provisional
    assert not candidate_of({k: v for k, v in record.items() if k != "provisional"}).provisional
    with pytest.raises(ValueError, match="provisional 1"):
        candidate_of(record | {"provisional": 1})


def measured(task: Task, truth: Grid, votes: int = 2) -> list[Candidate]:
    """The reports of a model's job: the truth and another grid, at first unmeasured."""
    final = [
        replace(guess(task, truth, "d0", votes=votes), scores=(-1.0,), cost_s=3.0),
        replace(guess(task, wrong(truth, 1), "d1"), scores=(-9.0,), cost_s=3.0),
    ]
    return [*(replace(early(c, -0.1, 1), cost_s=1.0) for c in final), *final]


def test_readers_of_a_run_count_no_candidate_twice(tmp_path: Path) -> None:
    def script(task: Task, truth: Grid) -> Iterable[Heard]:
        yield job(task, "model", 0, 4.0), measured(task, truth)

    folder = write_run(tmp_path / "run", script, toy_tasks(3), CONFIG)
    run = read_history(str(folder))
    assert [len(found) for found in run.pool()] == [2, 2, 2]
    assert [len(each.found) for jobs in run.jobs for each in jobs] == [4, 4, 4]
    lab = Lab(run, run.truth())
    assert [part.count for part in lab.engines()] == [6]
    assert {share.count for share in lab.shares(lambda _, c: c.view or "")} == {3}
    recorded = read_run(str(folder))
    (model,) = engines(recorded, findings(recorded))
    assert model.candidates == 6
    ballots = findings(recorded)[0].outputs[0].ballots
    assert sorted(ballot.votes for ballot in ballots) == [1, 2]


def test_a_run_played_with_less_time_has_what_was_found_before_it_was_measured(
    tmp_path: Path,
) -> None:
    def script(task: Task, truth: Grid) -> Iterable[Heard]:
        yield job(task, "model", 0, 4.0), measured(task, truth)

    config = replace(CONFIG, stages=(Stage("model"),), selector="experts")
    run = read_history(str(write_run(tmp_path / "run", script, toy_tasks(1), config)))
    assert play(run, Machine(2.5, 1)).scores[-1].tolist() == [1.0]
    whole = play(run, Machine(60, 1))
    assert whole.scores[-1].tolist() == [1.0]
    first = run.pool()[0][0]
    assert first.scores
    assert same(first.grid, run.truth()[0][0])
