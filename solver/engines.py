"""Engines: functions that propose candidates for a task.

An engine is a function `(task, deadline, context) -> iterator of Candidate`. An engine yields
each candidate as soon as it is found. An engine returns when nothing is left or its deadline has
passed. The engine of a stage with one job over all tasks gets all tasks and yields nothing.
`module:function` names a user's engine, for any command that takes `--engines`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from solver.deadline import Deadline
from solver.grid import Candidate, DataError, Task
from solver.ladder import FULL, Rung
from solver.settings import nearest


@dataclass(frozen=True)
class Context:
    """The facts that an engine may know besides the task.

    pass_: number of the pass, 0 for the first.
    seed: the engine's own seed.
    folder: the place where the run's workers leave things for one another.
    rung: how far to spare memory.
    settings: the settings of the engine's stage.
    known: distinct grids that earlier jobs found for the task, the best first.
    device: the worker has a device of its own; without one, an engine computes on the CPU.
    """

    pass_: int
    seed: int
    folder: Path = Path()
    rung: Rung = FULL
    settings: Mapping[str, Any] = field(default_factory=dict)
    known: tuple[Candidate, ...] = ()
    device: bool = False


Engine = Callable[[Task, Deadline, Context], Iterator[Candidate]]
# An engine for several tasks in one job, each with a context; candidates name their tasks.
Together = Callable[[Sequence[Task], Deadline, Sequence[Context]], Iterator[Candidate]]

# Engines are named by their place: only a worker that runs an engine imports its libraries.
ENGINES = {
    "synth": "solver.synth.engine:synth",
    "joint": "solver.lm.pair.joint:joint",
    "model": "solver.lm.pair.engine:model",
    "llm-joint": "solver.lm.llm.engine:joint",
    "llm": "solver.lm.llm.engine:llm",
    "induce": "solver.lm.induce.engine:induce",
}
OVER_ALL = ("joint", "llm-joint")  # one job over all tasks
# Functions that work on several tasks side by side in one job (`Stage.together`).
TOGETHER = {"model": "solver.lm.many.engine:together"}
TAKE_A_MODEL = ("llm-joint", "llm", "induce")  # their setting `model` is a user's folder
# SETTINGS: functions that read an engine's settings from a profile. READY: functions that check
# that the engine could run with these settings. Both are called in the process of the run, and
# import no heavy library.
SETTINGS = {
    "joint": "solver.lm.pair.settings:read",
    "model": "solver.lm.pair.settings:read",
    "llm-joint": "solver.lm.settings:read",
    "llm": "solver.lm.settings:read",
    "induce": "solver.lm.induce.settings:read",
}
READY = {
    "joint": "solver.lm.pair.settings:check",
    "model": "solver.lm.pair.settings:check",
    "llm-joint": "solver.lm.ready:check",
    "llm": "solver.lm.ready:check",
    "induce": "solver.lm.induce.settings:check",
}


def check_name(name: str, at: str) -> None:
    """Raise `DataError`, beginning with `at`, unless `name` is an engine or may be a user's own."""
    if name not in ENGINES and not all(map(str.isidentifier, _parts(name))):
        words = nearest(name, ENGINES)
        raise DataError(f"{at}: no such engine; {words}, or module:function")


def check_engine(name: str, at: str) -> None:
    """Raise `DataError`, beginning with `at`, unless `name` is an engine or `module:function` of a
    module on the path.

    A notebook leaves out the modules of engines that its run does not use. This function looks
    for the module but does not import it; only a worker imports it.
    """
    check_name(name, at)
    if not _on_path(ENGINES.get(name, name).partition(":")[0]):
        known = [e for e, place in ENGINES.items() if _on_path(place.partition(":")[0])]
        raise DataError(f"{at}: no such engine; {nearest(name, known)}, or module:function")


def check_settings(name: str, settings: Mapping[str, Any], at: str = "") -> None:
    """Raise `DataError` unless the engine takes these settings; a user's engine takes any.

    Settings of an engine that this notebook has left out are not checked.
    """
    if name in SETTINGS and _on_path(SETTINGS[name].partition(":")[0]):
        _function(SETTINGS[name])(settings, at)
    elif name in ENGINES and name not in SETTINGS and settings:
        raise DataError(f"{at or name}: {name} takes none, not {next(iter(settings))!r} either")


def check_ready(name: str, settings: Mapping[str, Any], memory_mb: int) -> None:
    """Raise `DataError` for a fault that would end the engine's first job.

    Such a fault is a missing or torn file, a library, or too little memory. Nothing is loaded.
    `memory_mb` is a worker's limit.
    """
    if name in READY:
        _function(READY[name])(settings, memory_mb)


def load_engine(name: str, context: Context) -> Engine:
    """Import an engine and call `prepare(context)` of its module, if the module has one.

    `prepare` compiles or loads a model, and ignores what the context says of a pass. The time of
    loading is not charged to any task. Raises whatever the module raises.
    """
    place, _, function = ENGINES.get(name, name).partition(":")
    module = importlib.import_module(place)
    engine: Engine = getattr(module, function)
    getattr(module, "prepare", lambda context: None)(context)
    return engine


def takes_many(name: str) -> bool:
    """True for an engine that may work on several tasks in one job; a user's engine may."""
    return name in TOGETHER or name not in ENGINES


def load_together(name: str) -> Together:
    """The engine's function for several tasks; a user's engine has it as `together` beside it.

    Raises whatever the import raises.
    """
    own = f"{name.partition(':')[0]}:together"
    function: Together = _function(TOGETHER.get(name, own))
    return function


def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _parts(name: str) -> list[str]:
    """The names in `module:function`."""
    module, colon, function = name.partition(":")
    return [*module.split("."), function if colon else ""]


def _on_path(module: str) -> bool:
    """True if the module has a file; a folder with its name is not enough.

    The module's parent packages are not imported for this check, since they may belong to a
    user's engine.
    """
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
        for part in rest:
            above = spec.submodule_search_locations if spec else None
            spec = PathFinder.find_spec(part, list(above)) if above else None
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None
