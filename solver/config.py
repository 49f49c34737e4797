"""Configuration: one frozen `Config`, from a profile (`profiles/*.toml`) and the command line.

Users turn one dial, the budget; everything else has a default here, which the table in
`docs/run.md` explains.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

from solver.engines import check_engine
from solver.grid import DataError

MAX_WORKERS = 256  # a mistyped number must not fill the machine with processes


@dataclass(frozen=True)
class Stage:
    """One engine's place in a run.

    share: its part of the time, against the shares of the stages beside it.
    max_slice_s: no first pass over a task gets more than this.
    growth: each further pass over a task may take this many times the pass before.
    repeats: a pass that finished leaves more to find (an engine that samples).
    whole: one job over all tasks instead of one for each; beside other workers it comes first.
    needs: an engine whose whole job must have ended before this stage begins.
    """

    engine: str
    share: float = 1.0
    max_slice_s: float = 60.0
    growth: float = 3.0
    repeats: bool = False
    whole: bool = False
    needs: str = ""


@dataclass(frozen=True)
class Config:
    """Everything that decides a run, apart from the tasks."""

    budget_s: float
    stages: tuple[Stage, ...]
    workers: int = 1
    memory_mb: int = 2000
    grace_s: float = 2.0
    load_s: float = 600.0
    selector: str = "experts"
    ensemble: str = "each"
    seed: int = 0
    profile: str = "cpu"


def load_config(
    profile: str,
    budget_s: float,
    *,
    engines: tuple[str, ...] = (),
    workers: int | None = None,
    seed: int = 0,
) -> Config:
    """Read a profile and lay the command line's choices over it.

    Named engines keep their stage of the profile where they have one. `workers` left out
    takes the profile's number, where 0 means one for each core.

    Raises `DataError` for an unknown profile, engine or number of workers.
    """
    table = _profile(profile)
    stages = {str(stage["engine"]): Stage(**stage) for stage in table.pop("stages")}
    chosen = tuple(stages.get(name, Stage(name)) for name in engines or stages)
    for stage in chosen:
        check_engine(stage.engine)
    default = table.pop("workers")
    if workers is not None and not 1 <= workers <= MAX_WORKERS:
        raise DataError(f"--workers {workers}: must be 1 to {MAX_WORKERS}")
    known = {field.name for field in fields(Config)}
    unknown = sorted(table.keys() - known)
    if unknown:
        raise DataError(f"profile {profile}: unknown setting {unknown[0]!r}")
    return Config(
        budget_s=budget_s,
        stages=chosen,
        workers=workers or default or len(cores()),
        seed=seed,
        profile=profile,
        **table,
    )


def recorded_config(values: Mapping[str, Any]) -> Config:
    """The settings that a journal recorded, for older and newer ones too: what they lack has its
    default, what this version does not know is left out.

    Raises `KeyError`, `TypeError` or `ValueError` if they are no settings.
    """
    stages = tuple(Stage(**_known(Stage, stage)) for stage in values["stages"])
    return Config(**_known(Config, values) | {"stages": stages})


def _known(kind: type[Config] | type[Stage], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    known = {name: value for name, value in values.items() if name in names}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in known.items()}


def cores() -> list[int]:
    """The CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _profile(name: str) -> dict[str, Any]:
    folder = resources.files("solver") / "profiles"
    known = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")
    if name not in known:
        raise DataError(f"--profile {name}: no such profile; there are {', '.join(known)}")
    return tomllib.loads((folder / f"{name}.toml").read_text("utf-8"))
