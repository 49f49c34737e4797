"""The real `arcsub` and `python -m solver`, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from solver import __version__
from solver.data.arcio import pick_tasks, read_source
from solver.data.submissions import check_submission
from solver.grid import Task
from submission.cli import app
from tests.control import paced
from tests.fakes import toy_tasks
from tests.runs import ARCSUB, PATIENCE_S, ROOT, journal_of, write_challenges

QUICK = ("--engines", "tests.fakes:instant", "--budget", "300s")
KAGGLE = ("notebook", "rehearse", "preflight", "wheels", "push")
AFTER = ("status", "logs", "output", "submit", "history")
RUNS = ("report", "compare", "lab", "simulate")
COMMANDS = ("solve", "score", "show", *RUNS, "train", "bundle", *KAGGLE, *AFTER)
HELP = re.compile(r"^ *(arcsub .*)$", re.MULTILINE)


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A folder with challenges and solutions of eight toy tasks."""
    tasks = toy_tasks(8)
    write_challenges(tmp_path / "challenges.json", tasks)
    write_solutions(tmp_path / "solutions.json", tasks)
    return tmp_path


def write_solutions(path: Path, tasks: tuple[Task, ...]) -> None:
    path.write_text(json.dumps({t.id: [g[::-1].tolist() for g in t.tests] for t in tasks}))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in the folder, with a terminal's width fixed."""
    return subprocess.run(
        arguments,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def printed(folder: Path, *arguments: str) -> str:
    """The output of a command that succeeds."""
    done = run(folder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_help_shows_examples_that_name_real_options() -> None:
    for command in COMMANDS:
        text = CliRunner().invoke(app, [command, "--help"]).output
        options, _, examples = text.partition("Example")
        lines = HELP.findall(examples)
        assert lines
        for line in lines:
            words = shlex.split(line)
            assert words[1] == command
            assert all(word in options for word in words if word.startswith("--"))


def test_the_version(tmp_path: Path) -> None:
    assert printed(tmp_path, ARCSUB, "--version") == f"arcsub {__version__}\n"


def test_without_a_command_the_commands_are_listed(tmp_path: Path) -> None:
    done = run(tmp_path, ARCSUB)
    assert all(command in done.stdout + done.stderr for command in COMMANDS)


def test_challenges_and_solutions_are_solved_and_scored_both_ways(toys: Path) -> None:
    text = printed(
        toys, ARCSUB, "solve", "challenges.json", "--solutions", "solutions.json",
        "--tasks", "4", "--budget", "300s", "--engines", "tests.fakes:instant",
    )  # fmt: skip
    assert "4 tasks: 4 program" in text
    assert "100.0% of 4 tasks (mean over tasks), 100.0% of 4 outputs (4 right)" in text
    tasks = pick_tasks(toy_tasks(8), "4", 0)
    check_submission(toys / "runs/challenges/submission.json", tasks)


def test_a_folder_is_solved_and_a_second_run_gets_its_own(toys: Path) -> None:
    folder = toys / "tasks"
    folder.mkdir()
    for task_id, task in json.loads((toys / "challenges.json").read_text()).items():
        (folder / f"{task_id}.json").write_text(json.dumps(task))
    solve = (ARCSUB, "solve", "tasks", "--tasks", "t000,t001", *QUICK)
    assert "runs/tasks/submission.json" in printed(toys, *solve)
    assert "runs/tasks-2/submission.json" in printed(toys, *solve)
    for name in ("tasks", "tasks-2"):
        check_submission(toys / "runs" / name / "submission.json", toy_tasks(2))


def test_a_built_in_set_is_solved_with_its_score(tmp_path: Path) -> None:
    solve = (ARCSUB, "solve", "arc-agi-1:training", "--tasks", "67a3c6ac", "--budget", paced(12))
    assert "100.0% of 1 tasks" in printed(tmp_path, *solve, "--run", "out")
    task = read_source("arc-agi-1:training").tasks
    check_submission(tmp_path / "out/submission.json", pick_tasks(task, "67a3c6ac", 0))


def test_the_module_alone_solves_the_same(toys: Path) -> None:
    text = printed(
        toys, sys.executable, "-m", "solver", "challenges.json", "--solutions", "solutions.json",
        "--tasks", "t001", "--budget", "300s", "--run", "out", "--engines", "tests.fakes:instant",
    )  # fmt: skip
    assert "100.0% of 1 tasks" in text


def test_a_run_is_resumed_only_when_asked_and_never_over_other_tasks(toys: Path) -> None:
    solve = (
        ARCSUB, "solve", "challenges.json", "--run", "out", "--budget", "300s",
        "--engines", "tests.fakes:instant",
    )  # fmt: skip
    printed(toys, *solve, "--tasks", "3")
    before = (toys / "out/submission.json").read_bytes()
    jobs = len(journal_of(toys / "out").jobs)
    again = run(toys, *solve, "--tasks", "3")
    assert (again.returncode, again.stdout) == (2, "")
    assert "out: holds a run already; add --resume" in again.stderr
    others = run(toys, *solve, "--tasks", "5", "--resume")
    assert (others.returncode, others.stdout) == (2, "")
    assert "out: holds a run over other tasks" in others.stderr
    printed(toys, *solve, "--tasks", "3", "--resume")
    assert (toys / "out/submission.json").read_bytes() == before
    assert len(journal_of(toys / "out").jobs) == jobs
    assert len(journal_of(toys / "out").runs) == 2


def test_draws_of_runs_are_nested(toys: Path) -> None:
    drawn = []
    for number in ("2", "5"):
        solve = (ARCSUB, "solve", "challenges.json", *QUICK, "--run", number)
        printed(toys, *solve, "--tasks", number, "--seed", "3")
        drawn.append(journal_of(toys / number).runs[0]["tasks"])
    assert [len(ids) for ids in drawn] == [2, 5]
    assert set(drawn[0]) < set(drawn[1])


def test_a_submission_is_scored_both_ways(tmp_path: Path) -> None:
    one, other = [[1]], [[2]]
    two = {"attempt_1": one, "attempt_2": other}
    (tmp_path / "submission.json").write_text(json.dumps({"a": [two, two], "b": [two]}))
    (tmp_path / "solutions.json").write_text(json.dumps({"a": [other, [[3]]], "b": [one]}))
    text = printed(tmp_path, ARCSUB, "score", "submission.json", "solutions.json")
    assert text == "75.0% of 2 tasks (mean over tasks), 66.7% of 3 outputs (2 right)\n"


def test_a_submission_is_scored_against_a_built_in_set(tmp_path: Path) -> None:
    solutions = read_source("arc-agi-2:evaluation").solutions
    assert solutions
    answers = {
        task_id: [{"attempt_1": [[0]], "attempt_2": grid.tolist()} for grid in grids]
        for task_id, grids in list(solutions.items())[:5]
    }
    (tmp_path / "submission.json").write_text(json.dumps(answers))
    text = printed(tmp_path, ARCSUB, "score", "submission.json", "arc-agi-2:evaluation")
    assert text.startswith("100.0% of 5 tasks")


def test_a_task_is_shown_with_views_and_attempts(tmp_path: Path) -> None:
    solutions = read_source("arc-agi-1:training").solutions
    assert solutions
    grids = solutions["007bbfb7"]
    answers = [{"attempt_1": [[0]], "attempt_2": grid.tolist()} for grid in grids]
    (tmp_path / "submission.json").write_text(json.dumps({"007bbfb7": answers}))
    text = printed(
        tmp_path, ARCSUB, "show", "arc-agi-1:training", "007bbfb7",
        "--views", "1", "--submission", "submission.json",
    )  # fmt: skip
    assert "task 007bbfb7" in text
    assert len(re.findall(r"view d\d\.c0\d{9}\.o[\d-]+", text)) == 1
    assert "test 0, attempt 1: wrong" in text
    assert "test 0, attempt 2: right" in text
    assert "0 0 0 0 7 7 0 7 7" in text


@pytest.mark.parametrize("words", [("train", "--out", "x"), ("bundle", "x", "--out", "y")])
def test_without_the_model_layer_they_say_what_to_install(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    code = "import sys; sys.modules['torch'] = None; from submission.cli import main; main()"
    done = run(tmp_path, sys.executable, "-c", code, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "arcsub: this needs torch, which is not here: pip install -e '.[model]'\n"
    )
