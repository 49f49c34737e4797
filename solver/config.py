"""Configuration: one frozen `Config`, from a profile (`profiles/*.toml`) and the command line.

Users set one number, the budget. Every other setting has a default here; the table in
`docs/run.md` explains the defaults.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from solver.answers.ensemble import RULES
from solver.answers.select import SELECTORS
from solver.deadline import STEP_S
from solver.engines import (
    ENGINES,
    OVER_ALL,
    TAKE_A_MODEL,
    check_engine,
    check_name,
    check_ready,
    check_settings,
    takes_many,
)
from solver.grid import DataError
from solver.ladder import LADDER
from solver.settings import NotEmpty, OneOf, Range, Text, fill, nearest, place, read_toml, shown

log = logging.getLogger("solver")

MAX_WORKERS = 256  # a mistyped number must not fill the machine with processes
MAX_TOGETHER = 256

Processes = Annotated[int, Range(least=0, most=MAX_WORKERS)]
Megabytes = Annotated[int, Range(above=0)]
Positive = Annotated[float, Range(above=0)]
Seconds = Annotated[float, Range(least=0)]


@dataclass(frozen=True)
class Stage:
    """The place of one engine in a run.

    share: the engine's part of the time, relative to the shares of the stages beside it.
    max_slice_s: no first pass over a task gets more seconds.
    min_slice_s: no job gets fewer seconds. A shorter job would end before the engine has done
    anything of use.
    loading_s: expected seconds of loading the engine, until a run has seen the real ones.
    step_s: seconds that one look of the engine at its clock counts as, in a run in steps.
    flexible: the engine uses whatever time it gets. Large tasks and settled tasks therefore get
    less time than in proportion to their expected cost.
    growth: each further pass over a task may take this many times the time of the pass before.
    repeats: a finished pass leaves more to find (an engine that samples).
    whole: one job over all tasks instead of one for each task. Beside other workers, this job
    comes first.
    needs: an engine whose whole job must have ended before this stage begins.
    device: jobs run only where a device is, one at a time on each device.
    together: most tasks that one job works on side by side. A device is fast only with many.
    ladder: rungs that the engine can do without when memory runs out (`solver.ladder.LADDER`).
    settled: tasks answered with this confidence come after all other tasks.
    least_s: runs with a smaller budget skip the stage, unless its engine is asked for by name.
    optional: runs skip the stage where its engine could not do its first job.
    settings: the engine's own settings.
    """

    engine: Annotated[str, Text()]
    share: Positive = 1.0
    max_slice_s: Positive = 60.0
    min_slice_s: Seconds = 0.0
    loading_s: Seconds = 0.0
    step_s: Positive = STEP_S
    flexible: bool = False
    growth: Annotated[float, Range(least=1)] = 3.0
    repeats: bool = False
    whole: bool = False
    needs: str = ""
    device: bool = False
    together: Annotated[int, Range(least=1, most=MAX_TOGETHER)] = 1
    ladder: tuple[Annotated[str, OneOf(tuple(LADDER))], ...] = ()
    settled: Annotated[float, Range(least=0, most=1)] = 1.0
    least_s: Annotated[float, Range(least=0, endless=True)] = 0.0
    optional: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """Everything that decides a run, apart from the tasks.

    `workers` is the number of processes on CPU cores. `devices` is the number of devices. Each
    device has one more process, and no other process sees this device. `device_memory_mb` is the
    main memory that such a process may use. `steps` is a budget in steps of the engines; 0 is a
    budget in seconds. With steps, `budget_s` is the number of seconds that the steps count as.
    """

    budget_s: float
    stages: Annotated[tuple[Stage, ...], NotEmpty()]
    workers: Processes = 1
    memory_mb: Megabytes = 2000
    devices: Processes = 0
    device_memory_mb: Megabytes = 20_000
    grace_s: Seconds = 2.0
    load_s: Positive = 600.0
    selector: Annotated[str, OneOf(tuple(SELECTORS))] = "experts"
    ensemble: Annotated[str, OneOf(tuple(RULES))] = "likeliest"
    seed: int = 0
    profile: str = "cpu"
    steps: int = 0


def load_config(
    profile: str,
    budget_s: float,
    *,
    engines: tuple[str, ...] = (),
    workers: int | None = None,
    devices: int | None = None,
    seed: int = 0,
    model: str | None = None,
    steps: int = 0,
) -> Config:
    """Read a profile and replace its values with the choices of the command line.

    Named engines keep their stage of the profile where they have one. `workers` and `devices`
    that are left out take the profile's number; 0 workers mean one for each core. `model` is the
    folder for every engine with a setting `model`. `steps` other than 0 replace `budget_s` as
    the budget. A run in steps has one worker.

    Raises `DataError` for an unknown or impossible profile, an unknown engine, and an impossible
    number of workers or devices.
    """
    _check_number("workers", workers)
    _check_number("devices", devices)
    budget_s = steps * STEP_S or budget_s
    config = replace(read_profile(profile, budget_s, seed), steps=steps)
    chosen = _chosen(config.stages, engines, budget_s)
    if model is not None:
        chosen = _with_model(chosen, model)
    config = replace(
        config,
        stages=chosen,
        workers=workers or config.workers or len(cores()),
        devices=config.devices if devices is None else devices,
    )
    for stage in chosen:
        check_engine(stage.engine, f"{_name(profile)}: engine {stage.engine}")
        if stage.device and not config.devices:
            raise DataError(f"{_name(profile)}: {stage.engine} needs a device and there is none")
    return _in_steps(config, workers or 1) if steps else config


def _chosen(stages: Sequence[Stage], engines: Sequence[str], budget_s: float) -> tuple[Stage, ...]:
    """The stages of the named engines: a plain stage where the profile has none for an engine.

    Without names, all stages that the budget is large enough for.
    """
    for name in engines:
        check_engine(name, f"--engines {name}")
    by_name = {stage.engine: stage for stage in stages}
    fit = [stage.engine for stage in stages if stage.least_s <= budget_s]
    return tuple(by_name.get(name, Stage(name)) for name in engines or fit)


def _in_steps(config: Config, workers: int) -> Config:
    """The configuration of a run in steps, in which loading takes no step and a job has one task.

    Raises `DataError` for several workers: only time would decide the order of their jobs.
    """
    kinds = {stage.device for stage in config.stages}
    places = workers * (False in kinds) + config.devices * (True in kinds)
    if places > 1:
        raise DataError(f"--steps: a run in steps has one worker, not {places}")
    stages = tuple(replace(stage, loading_s=0.0, together=1) for stage in config.stages)
    return replace(config, workers=1, stages=stages)


def _check_number(option: str, number: int | None) -> None:
    if number is not None and not 1 <= number <= MAX_WORKERS:
        raise DataError(f"--{option} {number}: must be 1 to {MAX_WORKERS}")


BEFORE: dict[str, Any] = {"ensemble": "each"}  # values of runs whose journal lacks the setting


def recorded_config(values: Mapping[str, Any]) -> Config:
    """The settings that a journal recorded, also a journal of an older or newer version.

    A missing setting has the value that it had when the journal was written, or its default.
    Settings that this version does not know are left out.

    Raises `KeyError`, `TypeError` or `ValueError` if the values are no settings.
    """
    stages = tuple(Stage(**_known(Stage, stage)) for stage in values["stages"])
    return Config(**BEFORE | _known(Config, values) | {"stages": stages})


def _known(kind: type[Config] | type[Stage], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    known = {name: value for name, value in values.items() if name in names}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in known.items()}


def ready_stages(config: Config) -> Config:
    """The run without the optional stages that could not do their first job here.

    Raises `DataError` before any job is done. The error means that a stage that is not optional
    could not do its first job, or that no stage is left.
    """
    if any(stage.device for stage in config.stages):
        device_names(config.devices)
    left, reasons = [], []
    for stage in config.stages:
        limit = config.device_memory_mb if stage.device else config.memory_mb
        try:
            check_ready(stage.engine, stage.settings, limit)
            left.append(stage)
        except DataError as error:
            if not stage.optional:
                raise
            reasons.append(f"{stage.engine} is left out: {error}")
    if not left:
        why = (
            "; ".join(reasons)
            or f"every stage of profile {config.profile} asks for a larger budget"
        )
        raise DataError(f"no engine can run: {why}")
    for reason in reasons:
        log.warning(reason)
    return replace(config, stages=tuple(left))


def cores() -> list[int]:
    """The CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def device_names(count: int) -> list[str]:
    """The values of `CUDA_VISIBLE_DEVICES` with which a process sees only one device, for each of
    `count` devices.

    Raises `DataError` if the variable is set and lists fewer devices.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = list(map(str, range(count))) if listed is None else listed.split(",")
    if len(names) < count or not all(names[:count]):
        raise DataError(f"{count} devices are asked for, CUDA_VISIBLE_DEVICES is {listed!r}")
    return names[:count]


# --- profiles -------------------------------------------------------------------------


def read_profile(profile: str, budget_s: float, seed: int = 0) -> Config:
    """Read a profile of the kit, or a user's file that ends in .toml, and check every stage.

    Raises `DataError` naming the profile, the stage and the wrong setting.
    """
    folder = resources.files("solver") / "profiles"
    known = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")
    own = profile.endswith(".toml")
    if profile not in known and not own:
        raise DataError(
            f"--profile {profile}: no such profile; there are {', '.join(known)}, or a .toml file"
        )
    at = _name(profile)
    file = Path(profile) if own else folder / f"{profile}.toml"
    table = {"workers": 0} | read_toml(file, at)  # 0: one worker for each core
    config = fill(Config, table, at, budget_s=budget_s, seed=seed, profile=profile, steps=0)
    _check_stages(config.stages, at)
    return config


def _name(profile: str) -> str:
    """The name of a profile in errors."""
    return profile if profile.endswith(".toml") else f"profile {profile}"


def _check_stages(stages: Sequence[Stage], at: str) -> None:
    """Raise `DataError` for a stage that is impossible, by itself or beside the others."""
    engines = [stage.engine for stage in stages]
    for i, stage in enumerate(stages):
        inside = place(f"{at}: stages", i, {"engine": stage.engine}, "engine")
        check_name(stage.engine, f"{inside}: engine")
        check_settings(stage.engine, stage.settings, f"{inside}: settings")
        if stage.engine in engines[:i]:
            raise DataError(f"{inside}: engine: has a stage before this one already")
        whole = stage.engine in OVER_ALL
        if stage.engine in ENGINES and stage.whole != whole:
            words = (
                "true: the engine takes all tasks" if whole else "false: the engine takes a task"
            )
            raise DataError(f"{inside}: whole: must be {words} at a time")
        if stage.together > 1 and not takes_many(stage.engine):
            raise DataError(f"{inside}: together: {stage.engine} takes one task at a time")
        _check_needs(stage, stages, f"{inside}: needs")


def _check_needs(stage: Stage, stages: Sequence[Stage], at: str) -> None:
    wholes = {other.engine: other.needs for other in stages if other.whole}
    passed, needed = [stage.engine], stage.needs
    while needed:
        if needed not in wholes:
            words = nearest(needed, wholes) if wholes else "there is none"
            raise DataError(f"{at}: {shown(needed)} is no stage with `whole = true`; {words}")
        if needed in passed:
            raise DataError(f"{at}: goes in a circle: {', '.join([*passed, needed])}")
        passed.append(needed)
        needed = wholes[needed]


def _with_model(stages: tuple[Stage, ...], model: str) -> tuple[Stage, ...]:
    def own(stage: Stage) -> Stage:
        return replace(stage, settings={**stage.settings, "model": model})

    if not any(stage.engine in TAKE_A_MODEL for stage in stages):
        raise DataError(f"--model {model}: no engine of this run takes a model")
    return tuple(own(stage) if stage.engine in TAKE_A_MODEL else stage for stage in stages)
