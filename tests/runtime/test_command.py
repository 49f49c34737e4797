"""The solve command: request in, report out."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from solver.answers.ensemble import answer
from solver.config import load_config
from solver.data.arcio import Source, pick_tasks
from solver.data.journal import JOURNAL_FILE
from solver.data.submissions import Score, check_submission
from solver.data.template import template
from solver.grid import DataError, Task
from solver.runtime.command import (
    Report,
    SolveRequest,
    exit_code,
    new_folder,
    run_solve,
    score_text,
)
from solver.runtime.run import Result, RunError
from tests.fakes import toy_tasks
from tests.runs import journal_of, write_challenges


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SolveRequest:
    """A quick run over ten toy tasks with their solutions, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    tasks = toy_tasks(10)
    write_challenges(tmp_path / "toys.json", tasks)
    write_solutions(tmp_path / "solutions.json", tasks)
    return SolveRequest(
        "toys.json", "solutions.json", budget="20s", engines="tests.fakes:instant", workers=1
    )


def write_solutions(path: Path, tasks: tuple[Task, ...]) -> None:
    path.write_text(json.dumps({t.id: [g[::-1].tolist() for g in t.tests] for t in tasks}))


def run(request: SolveRequest) -> Report:
    return run_solve(request, time.monotonic(), lambda snapshot: None)


def test_a_run_reports_answers_score_circumstances_and_files(request_: SolveRequest) -> None:
    report = run(request_)
    answered, score, circumstances, files = report.lines()
    assert answered == "answered  10 tasks: 10 program"
    assert score == (
        "score     100.0% of 10 tasks (mean over tasks), 100.0% of 10 outputs (10 right)"
    )
    assert "toys.json, 10 tasks, budget 20.0s, 1 workers on " in circumstances
    assert files == "files     runs/toys/submission.json, candidates.jsonl, run.log"
    assert {path.name for path in report.folder.iterdir()} >= {
        "submission.json",
        JOURNAL_FILE,
        "run.log",
    }
    check_submission(report.folder / "submission.json", toy_tasks(10))


def test_without_solutions_there_is_no_score(request_: SolveRequest) -> None:
    report = run(replace(request_, solutions=None, tasks="2"))
    assert report.score is None
    assert [line.split()[0] for line in report.lines()] == ["answered", "files"]


def test_a_draw_is_solved_and_scored_alone(request_: SolveRequest) -> None:
    report = run(replace(request_, tasks="3", run="drawn", seed=5))
    assert report.score
    (header,) = journal_of(Path("drawn")).runs
    assert header["tasks"] == [task.id for task in pick_tasks(toy_tasks(10), "3", 5)]
    assert set(header["tasks"]) == set(report.score.solved)


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("arc-agi-1:evaluation", "runs/arc-agi-1-evaluation"),
        ("data/arc-agi_test_challenges.json", "runs/arc-agi_test_challenges"),
        ("my tasks/", "runs/my-tasks"),
        (".", "runs/run"),
        ("..", "runs/run"),
        ("???.json", "runs/run"),
        ("v1.2.json", "runs/v1.2"),
        ("x" * 200 + ".json", "runs/" + "x" * 80),
    ],
)
def test_a_run_folder_is_named_after_its_source(
    source: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(new_folder(SolveRequest(source))) == folder


def test_a_folder_that_holds_a_run_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("runs/toys", "runs/toys-2", "runs/toys-3"):
        folder = new_folder(SolveRequest("toys.json"))
        assert str(folder) == expected
        folder.mkdir(parents=True)
        (folder / JOURNAL_FILE).touch()


def test_both_averages_are_told_with_their_counts() -> None:
    result = Score({"a": (True, False), "b": (True,)})
    assert score_text(result) == (
        "75.0% of 2 tasks (mean over tasks), 66.7% of 3 outputs (2 right)"
    )


def test_the_report_counts_how_tasks_were_answered() -> None:
    tasks = toy_tasks(3)
    answers = {task.id: answer(task, [], template(task)) for task in tasks}
    answers[tasks[0].id] = replace(answers[tasks[0].id], state="program")
    result = Result(Path("s.json"), answers, {})
    report = Report(result, Source("toys", tuple(tasks)), load_config("cpu", 1.0), Path(), None)
    assert report.lines()[0] == "answered  3 tasks: 2 fallback, 1 program"


def raising(error: Exception) -> int:
    def action() -> None:
        raise error

    return exit_code("arcsub", action)


@pytest.mark.parametrize(("error", "code"), [(DataError, 2), (RunError, 1)])
def test_a_failure_is_one_line_and_a_code(
    error: type[Exception], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error("first\nsecond\u2028third \ud800")) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", "arcsub: first second third \\ud800\n")


def test_success_is_silent_and_a_bug_is_never_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("arcsub", lambda: None) == 0
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())
