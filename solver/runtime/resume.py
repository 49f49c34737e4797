"""The plan of a resumed run: the plan knows the jobs of earlier processes.

A run by the wall clock books the jobs of earlier processes. A run in steps lets a fresh plan decide
all these jobs again, one by one. The plan's next decisions are then the same as without the cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from solver.answers.ensemble import answer
from solver.config import Config
from solver.data.journal import ALL_TASKS, JobRecord, Replay
from solver.data.template import template
from solver.deadline import Deadline, WorkClock
from solver.grid import Candidate, Task
from solver.runtime.board import Board
from solver.schedule.backlog import WHOLE, Slot
from solver.schedule.cost import work_of
from solver.schedule.loading import Load
from solver.schedule.policy import Policy


def plan_of(
    tasks: Sequence[Task], config: Config, board: Board, replayed: Replay, left_s: float
) -> Policy:
    """The policy at the start of a process: no finished work is repeated.

    Tells the board of tasks that have no work left, and of engines that come too late.
    """
    plan = _fresh(tasks, config)
    if not config.steps or not _repeat(plan, tasks, config, replayed):
        plan = _fresh(tasks, config)
        _book(plan, tasks, config, board, replayed)
    if replayed.jobs:
        for i in range(len(tasks)):
            if plan.backlog.ended(i):
                board.end(i)
    for late in plan.too_late(left_s):
        board.too_late(*late)
    return plan


def _fresh(tasks: Sequence[Task], config: Config) -> Policy:
    works = [work_of(task) for task in tasks]
    return Policy(works, config.stages, config.workers, config.devices)


def _book(
    plan: Policy, tasks: Sequence[Task], config: Config, board: Board, replayed: Replay
) -> None:
    """Book the jobs of earlier processes."""
    index = {task.id: i for i, task in enumerate(tasks)} | {ALL_TASKS: WHOLE}
    stage = {s.engine: i for i, s in enumerate(config.stages)}
    for job in replayed.jobs:
        if job.task in index and job.engine in stage:
            where = (index[job.task], stage[job.engine])
            slot = Slot(*where, job.pass_, job.slice_s, job.rung)
            plan.backlog.record(slot, job.outcome, job.cost_s)
    for load in replayed.loads:
        if load.engine in stage and load.outcome == "finished":
            plan.loading.record(stage[load.engine], load.outcome, load.cost_s)
    if replayed.jobs:
        plan.backlog.resume(board.answer(i).confidence for i in range(len(tasks)))


def _repeat(plan: Policy, tasks: Sequence[Task], config: Config, replayed: Replay) -> bool:
    """Let a fresh plan take the decisions of a run in steps again, and book the end of each job.

    False if the plan decides otherwise, as with other steps or settings. The state of the plan is
    then of no use.
    """
    deadline = Deadline(config.budget_s, WorkClock())
    loads = {load.engine: load.outcome for load in replayed.loads if load.outcome != "stopped"}
    found: dict[str, list[Candidate]] = {task.id: [] for task in tasks}
    have: set[int] = set()
    since = 0
    for job, heard in zip(replayed.jobs, replayed.heard, strict=True):
        mine = replayed.candidates[since:heard]
        since = heard
        if job.outcome == "stopped":
            continue
        slot = _decided(plan, config, deadline.left(), have, loads)
        if slot is None or not _same(slot, job, tasks, config):
            return False
        if slot.task != WHOLE:
            found[job.task] += mine
        deadline.clock.sleep(job.cost_s)
        plan.done(slot, job.outcome, job.cost_s, _confidence(slot, tasks, found, config))
        if job.outcome in ("died", "memory") or slot.task == WHOLE:  # the job's process has ended
            plan.loading.lost(have)
            have.clear()
    plan.backlog.calibrated()  # the earlier process has already logged the new rates
    plan.loading.lost(have)
    return True


def _decided(
    plan: Policy, config: Config, left_s: float, have: set[int], loads: Mapping[str, str]
) -> Slot | None:
    """The next job, after the loading of its engine."""
    device = config.stages[0].device  # a run in steps has only one worker
    while isinstance(step := plan.take(left_s, device, have), Load):
        outcome = loads.get(config.stages[step.stage].engine, "finished")
        plan.loaded(step, outcome, 0.0)
        if outcome == "finished":
            have.add(step.stage)
    return step


def _same(slot: Slot, job: JobRecord, tasks: Sequence[Task], config: Config) -> bool:
    name = ALL_TASKS if slot.task == WHOLE else tasks[slot.task].id
    decided = (name, config.stages[slot.stage].engine, slot.pass_, round(slot.slice_s, 4))
    return (*decided, slot.rung) == (job.task, job.engine, job.pass_, job.slice_s, job.rung)


def _confidence(
    slot: Slot, tasks: Sequence[Task], found: Mapping[str, list[Candidate]], config: Config
) -> float:
    """Confidence in the task's answer after the end of the job."""
    if slot.task == WHOLE:
        return 0.0
    task = tasks[slot.task]
    return answer(task, found[task.id], template(task), config.selector, config.ensemble).confidence
