"""Whatever an engine does costs its own task only; whatever the disk does, a submission stands."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from solver.config import Config, Stage
from solver.data.arcio import Source
from solver.data.journal import ALL_TASKS
from solver.data.submissions import check_submission, read_submission
from solver.deadline import RealClock
from solver.grid import Task, as_grid, key, same
from solver.runtime.run import Result, solve
from solver.runtime.worker import MAX_CANDIDATES
from tests.control import control, paced
from tests.fakes import BAD_TASK, toy_tasks
from tests.runs import (
    ROOT,
    command,
    finish,
    journal_of,
    start,
    wait_for,
    workers_of,
    write_challenges,
)

TASKS = toy_tasks(8)


def run_here(folder: Path, engine: str, budget_s: float = 10, memory_mb: int = 150) -> Result:
    stage = Stage(f"tests.fakes:{engine}", max_slice_s=0.4)
    config = Config(budget_s, (stage,), workers=2, memory_mb=memory_mb, grace_s=0.3)
    return solve(Source("toy", TASKS), config, folder)


def is_right(result: Result, task: Task) -> bool:
    first = result.answers[task.id].attempts[0][0].grid
    return same(first, as_grid(task.tests[0][::-1]))


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("hung_in_c", "did not end within its slice"),
        ("raises", "RuntimeError: an engine's bug"),
        ("exits", "exit code 3"),
        ("quits", "exit code 0"),
        ("segfaults", "SIGSEGV"),
        ("eats_memory", "MB, over 150 MB"),
        ("one_huge_allocation", "MemoryError"),
        ("floods_stdout", "did not end within its slice"),
        ("yields_nonsense", "TypeError: the engine yielded a str"),
        ("yields_bad_grid", "ValueError: the engine yielded a candidate whose grid"),
        ("writes_into_messages", "sent garbage"),
        ("half_a_message", "did not end within its slice"),
        ("closes_messages", "closed its messages"),
    ],
)
def test_a_misbehaving_engine_costs_its_own_task_only(
    tmp_path: Path, engine: str, reason: str
) -> None:
    result = run_here(tmp_path, engine)
    wrong = [task.id for task in TASKS if not is_right(result, task)]
    assert wrong == [BAD_TASK]
    terminal = journal_of(tmp_path).terminal[BAD_TASK]
    assert terminal["state"] == "fallback"
    assert any(reason in error for error in terminal["errors"])
    check_submission(result.submission, TASKS)


def test_three_deaths_end_a_task(tmp_path: Path) -> None:
    run_here(tmp_path, "exits")
    deaths = [job for job in journal_of(tmp_path).jobs if job.outcome == "died"]
    assert [job.task for job in deaths] == [BAD_TASK] * 3


@pytest.mark.parametrize(
    ("whole", "state"),
    [
        ("learn_all", "program"),
        ("learn_all_in_two_tries", "program"),
        ("fall_over_all", "fallback"),
    ],
)
def test_jobs_for_each_task_wait_for_the_one_over_all(
    tmp_path: Path, whole: str, state: str
) -> None:
    tasks = toy_tasks(4)
    joint, each = f"tests.fakes:{whole}", "tests.fakes:use_learned"
    stages = (Stage(joint, whole=True), Stage(each, needs=joint))
    source = Source("toys", tasks)
    result = solve(source, Config(20, stages, workers=2), tmp_path / "run")
    assert {answer.state for answer in result.answers.values()} == {state}
    jobs = journal_of(tmp_path / "run").jobs
    assert {job.task for job in jobs if job.engine == joint} == {ALL_TASKS}
    assert {job.task for job in jobs if job.engine == each} == {task.id for task in tasks}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_does_nothing_after_a_job_over_all(tmp_path: Path, workers: int) -> None:
    """The worker would otherwise keep the job's memory beside the memory of the next jobs."""
    stages = (
        Stage("tests.fakes:learn_all", whole=True),
        Stage("tests.fakes:use_learned_elsewhere", needs="tests.fakes:learn_all"),
    )
    result = solve(Source("toys", toy_tasks(4)), Config(20, stages, workers), tmp_path / "run")
    assert {answer.state for answer in result.answers.values()} == {"program"}
    assert {job.outcome for job in journal_of(tmp_path / "run").jobs} == {"finished"}


def test_an_engine_is_told_what_others_found(tmp_path: Path) -> None:
    names = ("tests.fakes:instant", "tests.fakes:tells_what_it_knows")
    config = Config(20, (Stage(names[0]), Stage(names[1])), 1)
    result = solve(Source("toys", TASKS), config, tmp_path / "run")
    found = journal_of(tmp_path / "run").candidates
    assert {(c.engine, c.votes, c.scores) for c in found} == {
        (names[0], 1, ()),
        (names[1], 1, (-4.0,)),
        (names[1], 0, (-0.25,)),
    }
    told = {c.task: c for c in found if not c.votes}
    assert all(same(told[task.id].grid, as_grid(task.tests[0][::-1])) for task in TASKS)
    assert all(two[0].source == names[0] for a in result.answers.values() for two in a.attempts)


def test_a_flood_of_candidates_is_cut(tmp_path: Path) -> None:
    result = run_here(tmp_path, "floods_candidates")
    assert all(is_right(result, task) for task in TASKS)
    heard = [0, *journal_of(tmp_path).heard]
    assert max(np.diff(heard)) <= MAX_CANDIDATES


def test_what_a_killed_engine_had_found_counts(tmp_path: Path) -> None:
    result = run_here(tmp_path, "hung", budget_s=4)
    assert any(job.outcome == "died" for job in journal_of(tmp_path).jobs)
    attempted = {job.task for job in journal_of(tmp_path).jobs}
    assert all(is_right(result, task) for task in TASKS if task.id in attempted)


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    run_here(tmp_path, "leaves_children", budget_s=5)
    time.sleep(0.2)
    listed = subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout
    assert "left-behind" not in listed
    assert workers_of(os.getpid()) == []


def test_an_engine_that_cannot_be_imported_ends_every_task_with_the_reason(tmp_path: Path) -> None:
    stage = Stage("tests.fakes:no_such_function")
    result = solve(Source("toy", TASKS), Config(5, (stage,)), tmp_path)
    check_submission(result.submission, TASKS)
    errors = [t["errors"] for t in journal_of(tmp_path).terminal.values()]
    assert len(errors) == len(TASKS)
    assert all("no_such_function" in error[0] for error in errors)


def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    process = start(command(challenges, tmp_path / "run", "hung_in_c", paced(30), "--workers", "2"))
    wait_for(lambda: len(workers_of(process.pid)) == 2)
    process.kill()
    finish(process)
    wait_for(lambda: workers_of(process.pid) == [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_ends_the_run_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    folder = tmp_path / "run"
    process = start(command(challenges, folder, "slow", "600s"))
    wait_for(lambda: (folder / "candidates.jsonl").exists() and journal_of(folder).candidates != [])
    process.send_signal(number)
    code, out, err = finish(process, timeout=120)
    assert (code, err) == (0, "")
    assert "answered  8 tasks" in out
    check_submission(folder / "submission.json", TASKS)
    assert len(journal_of(folder).terminal) == len(TASKS)
    assert workers_of(process.pid) == []


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    folder = tmp_path / "run"
    first = start(command(challenges, folder, "slow", paced(5)))
    wait_for(lambda: (folder / "submission.json").exists())
    code, _, err = finish(start(command(challenges, folder, "slow", "60s", "--resume")))
    assert code == 2
    assert err.count("\n") == 1
    assert "another run is using this folder" in err
    assert finish(first)[0] == 0
    check_submission(folder / "submission.json", TASKS)


def test_a_finished_folder_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    arguments = command(challenges, tmp_path / "run", "instant", "300s")
    assert finish(start(arguments))[0] == 0
    before = (tmp_path / "run/submission.json").read_bytes()
    code, _, err = finish(start(arguments))
    assert (code, err.count("\n")) == (2, 1)
    assert "--resume" in err
    assert (tmp_path / "run/submission.json").read_bytes() == before


def test_a_run_over_other_tasks_cannot_be_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    assert finish(start(command(challenges, folder, "instant", "300s")))[0] == 0
    other = write_challenges(tmp_path / "d.json", toy_tasks(8, seed=1))
    code, _, err = finish(start(command(other, folder, "instant", "300s", "--resume")))
    assert code == 2
    assert "other tasks" in err


def test_a_resumed_run_repeats_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    assert finish(start(command(challenges, folder, "instant", "300s")))[0] == 0
    jobs = journal_of(folder).jobs
    assert finish(start(command(challenges, folder, "instant", "300s", "--resume")))[0] == 0
    assert journal_of(folder).jobs == jobs


def test_broken_journal_lines_cost_themselves_only(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    assert finish(start(command(challenges, folder, "instant", "300s")))[0] == 0
    whole = _answers(folder)
    path = folder / "candidates.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    kinds = [json.loads(line)["kind"] for line in lines]
    lost = json.loads(lines[kinds.index("candidate")])["task"]
    # The tasks finish in any order, so the lines are chosen by what they say.
    lines[kinds.index("candidate")] = b'{"kind":"candidate","task":"t0\xff\n'
    second_job = kinds.index("job", kinds.index("job") + 1)
    lines[second_job] = lines[second_job][:20] + b"\n"
    path.write_bytes(b"".join(lines)[:-7])
    code, _, err = finish(start(command(challenges, folder, "instant", "300s", "--resume")))
    assert (code, err) == (0, "")
    assert "3 broken lines skipped" in (folder / "run.log").read_text()
    again = _answers(folder)
    assert again.keys() == whole.keys()
    assert {id for id in whole if again[id] != whole[id]} == {lost}


def _answers(folder: Path) -> dict[str, list[list[list[int]]]]:
    submission = read_submission(folder / "submission.json")
    return {id: [grid.tolist() for two in v for grid in two] for id, v in submission.items()}


def test_a_wall_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(
        "import time\n"
        "start, real = time.monotonic(), time.time\n"
        "def jumping():\n"
        "    return real() + (3600 if int(10 * (time.monotonic() - start)) % 2 else -3600)\n"
        "time.time = jumping\n"
    )
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    root = str(ROOT)
    with control() as measured:
        begun = time.monotonic()
        process = start(
            command(challenges, tmp_path / "run", "slow", "4s"),
            PYTHONPATH=f"{tmp_path / 'site'}{os.pathsep}{root}",
        )
        assert finish(process)[0] == 0
        wall_s = time.monotonic() - begun
    assert 3.8 < wall_s < measured.allows(5, steps=2)
    check_submission(tmp_path / "run/submission.json", TASKS)


class JumpingClock(RealClock):
    """A monotonic clock that leaps an hour ahead, as after a suspended machine."""

    born = time.monotonic()

    def now(self) -> float:
        real = time.monotonic()
        return real + (3600 if real > self.born + 1.5 else 0)


def test_a_monotonic_clock_that_leaps_ahead_ends_the_run_cleanly(tmp_path: Path) -> None:
    stage = Stage("tests.fakes:slow")
    with control() as measured:
        JumpingClock.born = time.monotonic()
        result = solve(Source("toy", TASKS), Config(60, (stage,)), tmp_path, clock=JumpingClock())
        wall_s = time.monotonic() - JumpingClock.born
    assert wall_s < measured.allows(4, steps=3)
    check_submission(result.submission, TASKS)


needs_mount = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="needs a mount namespace of its own",
)


@needs_mount
def test_a_disk_that_fills_up_leaves_the_last_valid_submission(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    run = " ".join(command(challenges, tmp_path / "m/run", "slow", paced(5)))
    script = f"""
        mkdir {tmp_path}/m && mount -t tmpfs -o size=200k none {tmp_path}/m
        {run} & pid=$!
        until [ -s {tmp_path}/m/run/submission.json ]; do sleep 0.02; done
        dd if=/dev/zero of={tmp_path}/m/ballast bs=1k count=500 2>/dev/null
        wait $pid; echo "code $?"
        cp {tmp_path}/m/run/submission.json {tmp_path}/kept.json
    """
    code, out, err = finish(start(["unshare", "-rm", "bash", "-c", script]))
    assert code == 0
    assert "code 1" in out
    assert err.count("solver: the last answers cannot be written") == 1
    assert os.strerror(errno.ENOSPC) in err
    check_submission(tmp_path / "kept.json", TASKS)


@needs_mount
def test_a_read_only_folder_is_one_clear_line(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    run = " ".join(command(challenges, tmp_path / "m/run", "instant", "60s"))
    script = f"mkdir {tmp_path}/m && mount -t tmpfs -o ro none {tmp_path}/m && {run}"
    code, _, err = finish(start(["unshare", "-rm", "bash", "-c", script]))
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be written: Read-only file system" in err


def test_the_journal_says_how_the_run_was_made(tmp_path: Path) -> None:
    run_here(tmp_path, "instant")
    header = json.loads((tmp_path / "candidates.jsonl").read_text().splitlines()[0])
    assert header["config"]["seed"] == 0
    assert header["versions"].keys() >= {"solver", "python", "numpy", "machine"}
    assert header["tasks"] == [task.id for task in TASKS]


def test_what_a_job_has_found_by_its_deadline_is_heard_whole(tmp_path: Path) -> None:
    """Not its first candidate only, which is all that comes before the deadline is looked at."""
    stage = Stage("tests.fakes:last_words", max_slice_s=1.0)
    solve(Source("toy", TASKS[:2]), Config(8, (stage,), workers=1, grace_s=2), tmp_path)
    replayed = journal_of(tmp_path)
    assert [job.outcome for job in replayed.jobs[:2]] == ["sliced"] * 2
    first = replayed.candidates[: replayed.heard[0]]
    assert len({key(candidate.grid) for candidate in first}) == 10
