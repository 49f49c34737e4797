"""Every way in which a run, its workers and its listeners can end, with real processes."""

from __future__ import annotations

import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from solver.config import Config, Stage
from solver.data.arcio import Source
from solver.data.submissions import check_submission, read_submission
from solver.deadline import parse_duration
from solver.grid import as_grid, same
from solver.runtime.board import Snapshot
from solver.runtime.run import RunError, solve
from tests.control import paced
from tests.fakes import BAD_TASK, toy_tasks
from tests.runs import (
    PATIENCE_S,
    ROOT,
    command,
    finish,
    journal_of,
    wait_for,
    workers_of,
    write_challenges,
)

TASKS = toy_tasks(8)
# Both commands, with a line of progress at every look.
ENTRIES = {
    "solver": "import sys, solver.__main__ as m; m.PRINT_EVERY_S = m.PRINT_SHARE = 0; "
    "sys.exit(m.main())",
    "arcsub": "import sys, solver.__main__ as m; m.PRINT_EVERY_S = m.PRINT_SHARE = 0; "
    "from submission.cli import main; sys.argv.insert(1, 'solve'); main()",
}


def arguments_of(folder: Path, engine: str = "steady", budget: str = "300s") -> list[str]:
    """A run of the toy tasks in `folder`/run, as both commands take it."""
    challenges = write_challenges(folder / "c.json", TASKS)
    return command(challenges, folder / "run", engine, budget, "--workers", "2")


def begin(
    arguments: list[str], setup: Callable[[], object] | None = None, **more: object
) -> subprocess.Popen[str]:
    """Start a command after `setup` in its process; standard error is captured."""
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        arguments,
        **{"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        | {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "preexec_fn": setup}
        | more,
    )


def missed(folder: Path) -> set[str]:
    """The tasks whose first attempt is wrong; the submission is whole."""
    check_submission(folder / "run/submission.json", TASKS)
    found = read_submission(folder / "run/submission.json")
    return {t.id for t in TASKS if not same(found[t.id][0][0], as_grid(t.tests[0][::-1]))}


# --- who listens ----------------------------------------------------------------------


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("output", ["closed pipe", "full device", "both closed", "all closed"])
def test_a_run_goes_on_where_nobody_listens(tmp_path: Path, entry: str, output: str) -> None:
    into = closed_pipe() if output == "closed pipe" else os.open("/dev/full", os.O_WRONLY)
    closed = {"both closed": (1, 2), "all closed": (0, 1, 2)}.get(output, ())
    arguments = [sys.executable, "-c", ENTRIES[entry], *arguments_of(tmp_path)[3:]]
    process = begin(
        arguments, lambda: list(map(os.close, closed)), stdout=into, stderr=subprocess.DEVNULL
    )
    os.close(into)
    assert process.wait(PATIENCE_S) == 0
    assert missed(tmp_path) == set()
    assert len(journal_of(tmp_path / "run").terminal) == len(TASKS)


def test_bad_input_is_exit_code_2_where_nobody_listens(tmp_path: Path) -> None:
    into = closed_pipe()
    arguments = [*arguments_of(tmp_path), "--profile", "nosuch"]
    process = begin(arguments, stdout=into, stderr=into)
    os.close(into)
    assert process.wait(PATIENCE_S) == 2


def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "l\udce4ufe"
    folder.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    code, out, err = finish(begin(arguments_of(folder), env=env))
    assert (code, err) == (0, "")
    assert "l\\udce4ufe" in out


@pytest.mark.parametrize("controlling", [True, False])
def test_a_terminal_that_disappears(tmp_path: Path, controlling: bool) -> None:
    """A terminal sends SIGHUP to its processes, which ends the run; others continue without it."""
    ours, theirs = pty.openpty()
    budget = paced(4)
    arguments = arguments_of(tmp_path, "slow", budget)[3:]

    def setup() -> None:
        os.setsid()
        if controlling:
            os.close(os.open(os.ttyname(theirs), os.O_RDWR))

    begun = time.monotonic()
    process = begin(
        [sys.executable, "-c", ENTRIES["arcsub"], *arguments],
        setup,
        **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
    )
    os.close(theirs)
    wait_for(lambda: (tmp_path / "run/candidates.jsonl").exists())
    wait_for(lambda: journal_of(tmp_path / "run").candidates != [])
    os.close(ours)
    assert process.wait(PATIENCE_S) == 0
    assert controlling or time.monotonic() - begun > 0.9 * parse_duration(budget)
    check_submission(tmp_path / "run/submission.json", TASKS)


def test_nohup_is_respected(tmp_path: Path) -> None:
    process = begin(arguments_of(tmp_path), lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_for(lambda: (tmp_path / "run/submission.json").exists())
    process.send_signal(signal.SIGHUP)
    assert finish(process)[0] == 0
    assert missed(tmp_path) == set()


# --- signals --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGXCPU", "SIGUSR1", "SIGUSR2"])
def test_what_batch_systems_send_first_ends_the_run_cleanly(tmp_path: Path, name: str) -> None:
    process = begin(arguments_of(tmp_path, "slow", "600s"))
    wait_for(lambda: (tmp_path / "run/submission.json").exists())
    process.send_signal(getattr(signal, name))
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert "answered  8 tasks" in out
    check_submission(tmp_path / "run/submission.json", TASKS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSTOP, signal.SIGHUP, 40])
def test_a_signal_to_a_worker_costs_a_pass(tmp_path: Path, number: int) -> None:
    """40 is a signal for real time, which has no name. The run's only worker has a job by then."""
    process = begin([*arguments_of(tmp_path, "slow", paced(6)), "--workers", "1"])
    wait_for(lambda: (tmp_path / "run/candidates.jsonl").exists())
    wait_for(lambda: journal_of(tmp_path / "run").candidates != [])
    os.kill(workers_of(process.pid)[0], number)
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    log = (tmp_path / "run/run.log").read_text()  # it may have been between two jobs
    assert " died: " in log or " killed: " in log
    check_submission(tmp_path / "run/submission.json", TASKS)
    assert workers_of(process.pid) == []


def test_children_that_nobody_waits_for(tmp_path: Path) -> None:
    """A parent that ignores SIGCHLD hands that down."""
    process = begin(
        arguments_of(tmp_path, "exits"), lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    )
    assert finish(process)[0] == 0
    assert missed(tmp_path) == {BAD_TASK}


# --- the run's own process ------------------------------------------------------------


@pytest.mark.parametrize("kind", [RuntimeError, BrokenPipeError, MemoryError, KeyboardInterrupt])
def test_whatever_breaks_a_run_its_answers_are_written(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    def watch(now: Snapshot) -> None:
        if now.attempted == len(TASKS):
            raise kind("in the middle")

    config = Config(30, (Stage("tests.fakes:steady", repeats=True),), workers=2)
    expected = kind if kind is KeyboardInterrupt else RunError
    with pytest.raises(expected, match="in the middle"):
        solve(Source("toy", TASKS), config, tmp_path / "run", watch=watch)
    assert missed(tmp_path) == set()
    assert workers_of(os.getpid()) == []


# --- the run's folder -----------------------------------------------------------------


def test_a_run_folder_that_is_deleted_is_made_again(tmp_path: Path) -> None:
    process = begin(arguments_of(tmp_path, "slow", paced(5)))
    wait_for(lambda: (tmp_path / "run/candidates.jsonl").exists())
    wait_for(lambda: journal_of(tmp_path / "run").candidates != [])
    while (tmp_path / "run").exists():  # a write may come between
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    assert finish(process)[0] == 0
    check_submission(tmp_path / "run/submission.json", TASKS)
    assert len(missed(tmp_path)) < len(TASKS)


def test_a_run_folder_that_became_a_file_is_one_line(tmp_path: Path) -> None:
    process = begin(arguments_of(tmp_path, "slow", paced(4)))
    wait_for(lambda: (tmp_path / "run/submission.json").exists())
    (tmp_path / "run").rename(tmp_path / "moved")
    with suppress(FileExistsError):
        (tmp_path / "run").touch(exist_ok=False)
    moved_in_time = (tmp_path / "run").is_file()
    code, _, err = finish(process)
    if moved_in_time:
        assert (code, err.count("\n")) == (1, 1)
        assert "the last answers cannot be written" in err
    check_submission(tmp_path / "moved/submission.json", TASKS)


def test_a_current_folder_that_is_deleted(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    process = begin(arguments_of(tmp_path, "exits"), cwd=here)
    wait_for(lambda: (tmp_path / "run/submission.json").exists())
    here.rmdir()
    assert finish(process)[0] == 0
    assert missed(tmp_path) == {BAD_TASK}


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """The journal meets the limit first; the submission is smaller."""
    limit = 2600
    process = begin(
        arguments_of(tmp_path), lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    assert (tmp_path / "run/candidates.jsonl").stat().st_size == limit
    assert "the journal cannot be written" in (tmp_path / "run/run.log").read_text()
    assert missed(tmp_path) == set()
