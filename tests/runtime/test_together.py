"""Jobs over several tasks at once: who is in them, what is booked, and what one task may break."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest

from solver.config import Config, Stage, read_profile
from solver.data.arcio import Source
from solver.data.journal import JobRecord
from solver.grid import DataError
from solver.runtime.run import solve
from solver.schedule.backlog import Slot
from solver.schedule.cost import Work
from solver.schedule.policy import Policy
from solver.schedule.simulate import World, simulate
from tests.fakes import BAD_TASK, toy_tasks
from tests.runs import journal_of

TASKS = toy_tasks(12)
ENGINE = "tests.side_by_side:answer"


def run_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trouble: str = "", together: int = 4
) -> list[JobRecord]:
    """The jobs of a run on two devices in which every task is answered."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    stage = Stage(
        ENGINE,
        device=True,
        together=together,
        ladder=("batch",),
        settings={"trouble": trouble},
    )
    result = solve(Source("toys", TASKS), Config(60, (stage,), devices=2), folder)
    assert {answer.state for answer in result.answers.values()} == {"program"}
    return journal_of(folder).jobs


def test_tasks_side_by_side_are_booked_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = run_here(tmp_path, monkeypatch)
    assert Counter(job.task for job in jobs) == Counter(task.id for task in TASKS)
    assert {(job.outcome, job.pass_) for job in jobs} == {("finished", 0)}
    signed = [str(c.program).split() for c in journal_of(tmp_path).candidates]
    assert {where for where, _, _ in signed} <= {"GPU-a", "GPU-b"}
    assert max(int(beside) for _, beside, _ in signed) == 4
    assert len({seed for _, _, seed in signed}) == len(TASKS)  # a task's own
    for worker in (0, 1):
        mine = [job for job in jobs if job.worker == worker]
        for job, after in itertools.pairwise(mine):
            assert job.started_s + job.cost_s <= after.started_s + 1e-3


@pytest.mark.parametrize(("trouble", "tries"), [("dies", 2), ("raises", 2)])
def test_a_task_that_breaks_its_job_costs_the_others_one_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, tries: int
) -> None:
    jobs = run_here(tmp_path, monkeypatch, trouble)
    (beside,) = [job for job in jobs if job.task == BAD_TASK and job.outcome == "died"]
    again = Counter(job.task for job in jobs)
    assert set(again.values()) == {1, tries}
    assert again[BAD_TASK] == tries
    assert Counter(job.outcome for job in jobs)["died"] == sum(n > 1 for n in again.values())
    assert beside.error


def test_a_job_without_memory_is_tried_with_a_quarter_of_its_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = run_here(tmp_path, monkeypatch, "memory", together=6)
    ended = {(job.outcome, job.rung) for job in jobs}
    assert {("memory", 0), ("finished", 1)} <= ended
    assert all(rung == 0 for outcome, rung in ended if outcome == "memory")
    signed = [str(c.program).split() for c in journal_of(tmp_path).candidates]
    assert {int(beside) for _, beside, _ in signed} >= {6, 1}


# --- in the plan ----------------------------------------------------------------------


def works(count: int) -> list[Work]:
    return [Work(100 + 10 * i, 20) for i in range(count)]


def test_all_devices_get_work_and_no_job_outlives_the_run() -> None:
    stage = Stage("model", device=True, together=16, max_slice_s=1e6, flexible=True)
    plan = Policy(works(12), [stage], 0, 3)
    jobs = [plan.take(60.0, device=True) for _ in range(3)]
    assert all(isinstance(job, Slot) for job in jobs)
    sizes = [len(job.every) for job in jobs if isinstance(job, Slot)]
    assert sizes == [4, 4, 4]
    assert all(job.job_s < 60.001 for job in jobs if isinstance(job, Slot))
    assert plan.take(60.0, device=True) is None


def test_a_simulated_run_gives_every_task_its_time() -> None:
    stage = Stage("model", device=True, together=8, max_slice_s=1e6, flexible=True, repeats=True)
    world = World(cost=lambda slot: 1e9)  # as long as it may
    found = simulate(works(40), [stage], 0, 1000.0, world, devices=2)
    assert min(found.attempts) >= 1
    assert found.busy > 0.95
    assert found.ended_s <= 1000.0
    (used,) = found.used
    assert used.all_s == pytest.approx(2000.0, rel=0.05)
    first = [slot for slot in found.slots if slot.pass_ == 0]
    assert max(slot.slice_s for slot in first) < 4 * min(slot.slice_s for slot in first)


def test_an_engine_that_takes_one_task_has_no_jobs_of_several(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[[stages]]\nengine = 'synth'\ntogether = 2\n")
    with pytest.raises(DataError, match="together: synth takes one task at a time"):
        read_profile(str(path), 1.0)
    path.write_text("[[stages]]\nengine = 'model'\ntogether = 0\n")
    with pytest.raises(DataError, match="together: must be at least 1, is 0"):
        read_profile(str(path), 1.0)
