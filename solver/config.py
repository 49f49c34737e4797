"""Configuration: one frozen `Config`, from a profile (`profiles/*.toml`) and the command line.

Users turn one dial, the budget; everything else has a default here, which the table in
`docs/run.md` explains.
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from solver.engines import TAKE_A_MODEL, check_engine, check_ready, check_settings
from solver.grid import DataError
from solver.ladder import LADDER

log = logging.getLogger("solver")

MAX_WORKERS = 256  # a mistyped number must not fill the machine with processes


@dataclass(frozen=True)
class Stage:
    """One engine's place in a run.

    share: its part of the time, against the shares of the stages beside it.
    max_slice_s: no first pass over a task gets more than this.
    min_slice_s: no job gets less: it would end before the engine has done anything of use.
    loading_s: what loading the engine is expected to take until a run has seen it.
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

    engine: str
    share: float = 1.0
    max_slice_s: float = 60.0
    min_slice_s: float = 0.0
    loading_s: float = 0.0
    flexible: bool = False
    growth: float = 3.0
    repeats: bool = False
    whole: bool = False
    needs: str = ""
    device: bool = False
    ladder: tuple[str, ...] = ()
    settled: float = 1.0
    least_s: float = 0.0
    optional: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """Everything that decides a run, apart from the tasks.

    `workers` are processes on CPU cores. On each of `devices` runs one more, which alone sees
    that device; `device_memory_mb` is the main memory that it may use.
    """

    budget_s: float
    stages: tuple[Stage, ...]
    workers: int = 1
    memory_mb: int = 2000
    devices: int = 0
    device_memory_mb: int = 20_000
    grace_s: float = 2.0
    load_s: float = 600.0
    selector: str = "experts"
    ensemble: str = "likeliest"
    seed: int = 0
    profile: str = "cpu"


def load_config(
    profile: str,
    budget_s: float,
    *,
    engines: tuple[str, ...] = (),
    workers: int | None = None,
    devices: int | None = None,
    seed: int = 0,
    model: str | None = None,
) -> Config:
    """Read a profile and lay the command line's choices over it.

    Named engines keep their stage of the profile where they have one. `workers` and `devices`
    left out take the profile's number; 0 workers mean one for each core. `model` is the folder
    of every engine that has a setting of that name.

    Raises `DataError` for an unknown profile, engine or setting, and for a number of workers or
    devices that cannot be.
    """
    table = _profile(profile)
    stages = {stage.engine: stage for stage in _stages(profile, table)}
    fit = [name for name, stage in stages.items() if stage.least_s <= budget_s]
    chosen = tuple(stages.get(name, Stage(name)) for name in engines or fit)
    if model is not None:
        chosen = _with_model(chosen, model)
    default = table.pop("workers", 0)
    _check_number("workers", workers)
    _check_number("devices", devices)
    if devices is not None:
        table["devices"] = devices
    for stage in chosen:
        _check_stage(profile, stage, table.get("devices", 0))
    _check_names(profile, table)
    return Config(
        budget_s=budget_s,
        stages=chosen,
        workers=workers or default or len(cores()),
        seed=seed,
        profile=profile,
        **table,
    )


def _check_names(profile: str, table: Mapping[str, Any]) -> None:
    unknown = sorted(table.keys() - {field.name for field in fields(Config)})
    if unknown:
        raise DataError(f"profile {profile}: unknown setting {unknown[0]!r}")


def _check_number(option: str, number: int | None) -> None:
    if number is not None and not 1 <= number <= MAX_WORKERS:
        raise DataError(f"--{option} {number}: must be 1 to {MAX_WORKERS}")


def _check_stage(profile: str, stage: Stage, devices: int) -> None:
    check_engine(stage.engine)
    check_settings(stage.engine, stage.settings)
    if stage.device and not devices:
        raise DataError(f"profile {profile}: {stage.engine} needs a device and there is none")


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
        raise DataError(f"no engine can run: {'; '.join(reasons)}")
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


def _stage(table: dict[str, Any]) -> Stage:
    stage = Stage(**{**table, "ladder": tuple(table.get("ladder", ()))})
    unknown = [name for name in stage.ladder if name not in LADDER]
    if unknown:
        raise DataError(f"stage {stage.engine}: no rung {unknown[0]!r}; {', '.join(LADDER)}")
    return stage


def _profile(name: str) -> dict[str, Any]:
    """The tables of a profile of the kit, or of a file of one's own that ends in .toml."""
    folder = resources.files("solver") / "profiles"
    known = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")
    own = name.endswith(".toml")
    if name not in known and not own:
        raise DataError(
            f"--profile {name}: no such profile; there are {', '.join(known)}, or a .toml file"
        )
    try:
        text = (Path(name) if own else folder / f"{name}.toml").read_text("utf-8")
        return tomllib.loads(text)
    except OSError as error:
        raise DataError(f"--profile {name}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"--profile {name}: no TOML: {error}") from None


def _stages(profile: str, table: dict[str, Any]) -> list[Stage]:
    """Take a profile's stages out of its tables."""
    try:
        return [_stage(stage) for stage in table.pop("stages")]
    except (KeyError, TypeError) as error:
        raise DataError(f"profile {profile}: no legal stages: {error}") from None


def _with_model(stages: tuple[Stage, ...], model: str) -> tuple[Stage, ...]:
    if not any(stage.engine in TAKE_A_MODEL for stage in stages):
        raise DataError(f"--model {model}: no engine of this run takes a model")
    return tuple(
        replace(stage, settings={**stage.settings, "model": model})
        if stage.engine in TAKE_A_MODEL
        else stage
        for stage in stages
    )
