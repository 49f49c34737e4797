"""SIGKILL at many random moments: the submission on disk is always valid and complete,
and a resumed run ends with the answers of an undisturbed one."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from solver.data.journal import JOURNAL_FILE
from solver.data.submissions import check_submission, read_submission
from solver.grid import Task, as_grid, key
from tests.fakes import toy_tasks
from tests.runs import NIGHTLY, command, finish, journal_of, start, workers_of, write_challenges

KILLS = 100 if NIGHTLY else 30
LANES = 2
TASKS = toy_tasks(16)


def test_kills_at_random_moments(tmp_path: Path) -> None:
    challenges = write_challenges(tmp_path / "c.json", TASKS)
    undisturbed = tmp_path / "undisturbed"
    begun = time.monotonic()
    arguments = command(challenges, undisturbed, "steady", "60s", "--workers", "1")
    assert finish(start(arguments))[0] == 0
    longest_s = time.monotonic() - begun  # of a run, on this machine as busy as it is now
    with ThreadPoolExecutor(LANES) as pool:
        lanes = [
            pool.submit(_kill_and_resume, challenges, tmp_path / str(lane), lane, longest_s)
            for lane in range(LANES)
        ]
        folders = [folder for lane in lanes for folder in lane.result()[0]]
        struck = [jobs for lane in lanes for jobs in lane.result()[1]]
    expected = _answers(undisturbed)
    assert [expected[task.id][0] for task in TASKS] == [_right(task) for task in TASKS]
    assert len(struck) == KILLS
    # The kills fell all over the run, not only on its start.
    assert max(struck) - min(struck) >= len(TASKS) / 2
    for folder in folders:
        assert _answers(folder) == expected


def _kill_and_resume(
    challenges: Path, base: Path, lane: int, longest_s: float
) -> tuple[list[Path], list[int]]:
    """Kill runs until this lane's share of kills is reached.

    Returns the folders of the runs, all finished in the end, and how many jobs each kill found
    done.
    """
    rng = random.Random(lane)
    finished: list[Path] = []
    struck: list[int] = []
    folder = base / "0"
    while len(struck) < KILLS // LANES:
        if _one_run(challenges, folder, rng.uniform(0, longest_s)):
            struck.append(len(journal_of(folder).jobs) if (folder / JOURNAL_FILE).exists() else 0)
            check_submission(folder / "submission.json", TASKS)
        else:
            finished.append(folder)
            folder = base / str(len(finished))
    arguments = command(challenges, folder, "steady", "60s", "--workers", "1", "--resume")
    assert finish(start(arguments))[0] == 0
    return [*finished, folder], struck


def _one_run(challenges: Path, folder: Path, moment_s: float) -> bool:
    """Start or resume a run and kill it `moment_s` later. False if it ended before that."""
    more = ["--resume"] if (folder / JOURNAL_FILE).exists() else []
    process = start(command(challenges, folder, "steady", "60s", "--workers", "1", *more))
    submission = folder / "submission.json"
    while not submission.exists():  # the promise begins with the first write
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(moment_s)
    if process.poll() is not None:
        assert finish(process)[0] == 0
        return False
    process.kill()
    finish(process)
    assert workers_of(process.pid) == [] or _gone_soon(process.pid)
    return True


def _gone_soon(parent: int) -> bool:
    time.sleep(1.5)
    return workers_of(parent) == []


def _right(task: Task) -> bytes:
    return key(as_grid(task.tests[0][::-1]))


def _answers(folder: Path) -> dict[str, list[bytes]]:
    submission = read_submission(folder / "submission.json")
    return {
        task_id: [key(grid) for attempts in tests for grid in attempts]
        for task_id, tests in submission.items()
    }
