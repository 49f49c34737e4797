"""Configuration: one frozen `Config`, from a profile (`profiles/*.toml`) and the command line.

Users turn one dial, the budget; everything else has a default here, which the table in
`docs/run.md` explains.
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
)
from solver.grid import DataError
from solver.ladder import LADDER
from solver.settings import NotEmpty, OneOf, Range, Text, fill, nearest, place, read_toml, shown

log = logging.getLogger("solver")

MAX_WORKERS = 256  # a mistyped number must not fill the machine with processes

Processes = Annotated[int, Range(least=0, most=MAX_WORKERS)]
Megabytes = Annotated[int, Range(above=0)]
Positive = Annotated[float, Range(above=0)]
Seconds = Annotated[float, Range(least=0)]


@dataclass(frozen=True)
class Stage:
    """One engine's place in a run.

    share: its part of the time, against the shares of the stages beside it.
    max_slice_s: no first pass over a task gets more than this.
    min_slice_s: no job gets less: it would end before the engine has done anything of use.
    loading_s: what loading the engine is expected to take until a run has seen it.
    step_s: what a look of the engine at its clock counts as, in a run in steps.
    flexible: the engine uses whatever time it gets; so large tasks, and those that are settled,
    get less of it than in proportion to their expected cost.
    growth: each further pass over a task may take this many times the pass before.
    repeats: a pass that finished leaves more to find (an engine that samples).
    whole: one job over all tasks instead of one for each; beside other workers it comes first.
    needs: an engine whose whole job must have ended before this stage begins.
    device: its jobs run where a device is, one at a time on each, and nowhere else.
    ladder: what the engine can do without when memory runs out (`solver.ladder.LADDER`).
    settled: tasks answered with this confidence come after all others.
    least_s: runs with a smaller budget do without the stage, unless it is asked for by name.
    optional: so do runs where it could not do its first job.
    settings: the engine's own.
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
    ladder: tuple[Annotated[str, OneOf(tuple(LADDER))], ...] = ()
    settled: Annotated[float, Range(least=0, most=1)] = 1.0
    least_s: Annotated[float, Range(least=0, endless=True)] = 0.0
    optional: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """Everything that decides a run, apart from the tasks.

    `workers` are processes on CPU cores. On each of `devices` runs one more, which alone sees
    that device; `device_memory_mb` is the main memory that it may use. `steps`: the budget is
    so many steps of the engines instead of time, and `budget_s` what they count as; 0 is time.
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
    """Read a profile and lay the command line's choices over it.

    Named engines keep their stage of the profile where they have one. `workers` and `devices`
    left out take the profile's number; 0 workers mean one for each core. `model` is the folder
    of every engine that has a setting of that name. `steps` other than 0 are the budget, in place
    of `budget_s`; a run in steps has one worker.

    Raises `DataError` for a profile that is none or says what cannot be, an unknown engine, and a
    number of workers or devices that cannot be.
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
    """The stages of the engines that are named, a plain one where the profile has none; without
    names those that the budget is enough for."""
    for name in engines:
        check_engine(name, f"--engines {name}")
    by_name = {stage.engine: stage for stage in stages}
    fit = [stage.engine for stage in stages if stage.least_s <= budget_s]
    return tuple(by_name.get(name, Stage(name)) for name in engines or fit)


def _in_steps(config: Config, workers: int) -> Config:
    """A run in steps, where loading takes none. Raises `DataError` for several workers: they would
    take jobs in an order that only time decides."""
    kinds = {stage.device for stage in config.stages}
    places = workers * (False in kinds) + config.devices * (True in kinds)
    if places > 1:
        raise DataError(f"--steps: a run in steps has one worker, not {places}")
    stages = tuple(replace(stage, loading_s=0.0) for stage in config.stages)
    return replace(config, workers=1, stages=stages)


def _check_number(option: str, number: int | None) -> None:
    if number is not None and not 1 <= number <= MAX_WORKERS:
        raise DataError(f"--{option} {number}: must be 1 to {MAX_WORKERS}")


BEFORE: dict[str, Any] = {"ensemble": "each"}  # what journals without a setting were run with


def recorded_config(values: Mapping[str, Any]) -> Config:
    """The settings that a journal recorded, for older and newer ones too: what they lack is what
    it was at their time or has its default, what this version does not know is left out.

    Raises `KeyError`, `TypeError` or `ValueError` if they are no settings.
    """
    stages = tuple(Stage(**_known(Stage, stage)) for stage in values["stages"])
    return Config(**BEFORE | _known(Config, values) | {"stages": stages})


def _known(kind: type[Config] | type[Stage], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    known = {name: value for name, value in values.items() if name in names}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in known.items()}


def ready_stages(config: Config) -> Config:
    """The run without the optional stages that could not do their first job here.

    Raises `DataError`, before any job is done, if another one could not, or if none is left.
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
    """What `CUDA_VISIBLE_DEVICES` must say for each of so many devices to be seen alone.

    Raises `DataError` if the variable is set and lists fewer.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = list(map(str, range(count))) if listed is None else listed.split(",")
    if len(names) < count or not all(names[:count]):
        raise DataError(f"{count} devices are asked for, CUDA_VISIBLE_DEVICES is {listed!r}")
    return names[:count]


# --- profiles -------------------------------------------------------------------------


def read_profile(profile: str, budget_s: float, seed: int = 0) -> Config:
    """What a profile of the kit says, or a file of one's own that ends in .toml, every stage
    checked. Raises `DataError` naming the profile, the stage and the setting that is wrong."""
    folder = resources.files("solver") / "profiles"
    known = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")
    own = profile.endswith(".toml")
    if profile not in known and not own:
        raise DataError(
            f"--profile {profile}: no such profile; there are {', '.join(known)}, or a .toml file"
        )
    at = _name(profile)
    file = Path(profile) if own else folder / f"{profile}.toml"
    table = {"workers": 0} | read_toml(file, at)  # as many as there are cores
    config = fill(Config, table, at, budget_s=budget_s, seed=seed, profile=profile, steps=0)
    _check_stages(config.stages, at)
    return config


def _name(profile: str) -> str:
    """What errors call a profile."""
    return profile if profile.endswith(".toml") else f"profile {profile}"


def _check_stages(stages: Sequence[Stage], at: str) -> None:
    """Raise `DataError` for a stage that cannot be, by itself or beside the others."""
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
