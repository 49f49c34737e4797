"""The orders for the policy's decisions: a job, or an engine to load ahead of its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from solver.config import Config, Stage
from solver.data.journal import ALL_TASKS
from solver.deadline import format_duration
from solver.grid import Candidate, Task, stable_seed
from solver.runtime.messages import JobOrder, LoadOrder
from solver.runtime.workers import Worker
from solver.schedule.backlog import WHOLE, Slot
from solver.schedule.loading import Load


def about(slot: Slot, tasks: tuple[Task, ...]) -> tuple[tuple[Task, ...], str]:
    """The tasks of a job, and their name for the user; each has its own id in the journal."""
    if slot.task == WHOLE:
        return tasks, ALL_TASKS
    mine = tuple(tasks[one.task] for one in slot.every)
    more = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
    return mine, f"{mine[0].id}{more}"


def job_order(
    number: int,
    slot: Slot,
    tasks: tuple[Task, ...],
    known: Sequence[Candidate],
    config: Config,
    folder: Path,
) -> JobOrder:
    """The order for a slot of the plan; in `folder` workers leave files for one another."""
    stage = config.stages[slot.stage]
    # A job over all tasks keeps its seed however often it is begun: the job continues its work.
    seeds = [
        stable_seed(
            config.seed,
            about(one, tasks)[1],
            stage.engine,
            0 if one.task == WHOLE else one.pass_,
        )
        for one in slot.every
    ]
    return JobOrder(
        **vars(_engine(number, stage, slot.rung, folder)),
        tasks=about(slot, tasks)[0],
        whole=slot.task == WHOLE,
        passes=tuple(one.pass_ for one in slot.every),
        seeds=tuple(seeds),
        slice_s=slot.job_s,
        step_s=stage.step_s if config.steps else 0.0,
        known=tuple(known),
    )


def load_order(number: int, load: Load, config: Config, folder: Path) -> LoadOrder:
    """The order to load a stage's engine."""
    return _engine(number, config.stages[load.stage], load.rung, folder)


def _engine(number: int, stage: Stage, rung: int, folder: Path) -> LoadOrder:
    """The part of an order that names the engine."""
    settings, without = dict(stage.settings), tuple(stage.ladder[:rung])
    return LoadOrder(number, stage.engine, str(folder), settings, without, stage.device)


def doing(worker: Worker, config: Config, tasks: tuple[Task, ...], now: float) -> str:
    """A worker's present work, in words."""
    for_s = format_duration(now - worker.since)
    if worker.load:
        return f"loading the {config.stages[worker.load.stage].engine} {for_s}"
    if worker.slot is None:
        return "given up" if worker.given_up else "starting" if worker.starting else "idle"
    work = f"{config.stages[worker.slot.stage].engine} {about(worker.slot, tasks)[1]}"
    return f"{work} {for_s}" if worker.running else f"{work} loading {for_s}"
