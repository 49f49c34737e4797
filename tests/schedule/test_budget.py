"""Budgets are kept: never late by more than a second or 1 %, and used while work remains."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from solver.data.submissions import check_submission
from tests.control import Control, control
from tests.fakes import toy_tasks
from tests.runs import command, finish, journal_of, start, write_challenges

pytestmark = pytest.mark.budget

TASKS = toy_tasks(20)
WORKERS = 2
# The long ones run side by side with the others (their engines sleep). Longer ones, and figures:
# scripts/bench/budget.py.
LONG = [(20, "slow"), (20, "mixed"), (20, "hung")]
SHORT = [(5, "slow"), (5, "hung"), (5, "mixed"), (8, "slow")]
STARTS = 1 + 2 * WORKERS  # processes that a run begins: itself, its workers, one more for each


@dataclass(frozen=True)
class Run:
    folder: Path
    budget_s: float
    wall_s: float
    code: int
    control: Control

    @property
    def could_work(self) -> bool:
        """False where processes took so long to start that the budget left no time for jobs."""
        return STARTS * self.control.longest_s < self.budget_s


def _run(base: Path, budget_s: int, engine: str, measured: Control) -> Run:
    folder = base / f"{engine}-{budget_s}"
    challenges = base / "challenges.json"
    begun = time.monotonic()
    words = command(challenges, folder, engine, f"{budget_s}s", "--workers", str(WORKERS))
    code, _, _ = finish(start(words), timeout=budget_s + 60)
    return Run(folder, budget_s, time.monotonic() - begun, code, measured)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Run]:
    base = tmp_path_factory.mktemp("budget")
    write_challenges(base / "challenges.json", TASKS)
    with control() as measured, ThreadPoolExecutor(len(LONG)) as pool:
        long: dict[tuple[int, str], Future[Run]] = {}
        for budget_s, engine in LONG:
            long[budget_s, engine] = pool.submit(_run, base, budget_s, engine, measured)
        done = {(b, e): _run(base, b, e, measured) for b, e in SHORT}
        return done | {case: future.result() for case, future in long.items()}


@pytest.mark.parametrize(("budget_s", "engine"), SHORT + LONG)
def test_a_run_is_not_late_and_uses_its_budget(
    runs: dict[tuple[int, str], Run], budget_s: int, engine: str
) -> None:
    run = runs[budget_s, engine]
    assert run.code == 0 or not run.could_work
    assert run.wall_s <= budget_s + run.control.allows(1.0, steps=2)  # it starts, and it ends
    check_submission(run.folder / "submission.json", TASKS)
    jobs = journal_of(run.folder).jobs
    if engine == "slow" and run.could_work:  # work remains to the end
        assert run.wall_s >= 0.95 * budget_s
        if (budget_s, engine) in LONG:
            idle_s = WORKERS * budget_s - sum(job.cost_s for job in jobs)
            assert idle_s <= run.control.allows(0.05 * WORKERS * budget_s, steps=STARTS)


@pytest.mark.parametrize(("budget_s", "engine"), [(20, "mixed"), (20, "slow")])
def test_with_enough_time_every_task_is_attempted(
    runs: dict[tuple[int, str], Run], budget_s: int, engine: str
) -> None:
    run = runs[budget_s, engine]
    attempted = {job.task for job in journal_of(run.folder).jobs}
    assert attempted == {task.id for task in TASKS} or not run.could_work


def test_a_run_with_nothing_left_to_do_ends_early(tmp_path: Path) -> None:
    write_challenges(tmp_path / "challenges.json", TASKS)
    with control() as measured:
        run = _run(tmp_path, 60, "instant", measured)
    assert run.code == 0
    assert run.wall_s < run.control.allows(6, steps=STARTS)
