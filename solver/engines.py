"""Engines: what can propose candidates for a task.

An engine is a function `(task, deadline, context) -> iterator of Candidate`. It yields what
it finds as soon as it finds it and returns when it has nothing left or its deadline passed.
The engine of a stage that is one job over all tasks gets them all and yields nothing.
`module:function` names an engine of your own, for any command that takes `--engines`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from solver.deadline import Deadline
from solver.grid import Candidate, DataError, Task
from solver.ladder import FULL, Rung


@dataclass(frozen=True)
class Context:
    """What an engine may know besides the task: the pass (0 first), its own seed, the folder
    where the run's workers leave things for one another, how far to spare memory, its stage's
    settings, and what earlier jobs found for the task: distinct grids, the best first."""

    pass_: int
    seed: int
    folder: Path = Path()
    rung: Rung = FULL
    settings: Mapping[str, Any] = field(default_factory=dict)
    known: tuple[Candidate, ...] = ()


Engine = Callable[[Task, Deadline, Context], Iterator[Candidate]]

# Named by where they live, so that only the worker that runs one imports what it needs.
ENGINES = {
    "synth": "solver.synth.engine:synth",
    "joint": "solver.lm.joint:joint",
    "model": "solver.lm.engine:model",
    "llm-joint": "solver.lm.llm:joint",
    "llm": "solver.lm.llm:llm",
    "induce": "solver.lm.induce:induce",
}
TAKE_A_MODEL = ("llm-joint", "llm", "induce")  # whose setting `model` is a folder of one's own
# What reads an engine's settings from a profile, and what looks whether it could run with them.
# Both are called in the process of the run, and import no heavy library.
SETTINGS = {
    "joint": "solver.lm.pair_settings:read",
    "model": "solver.lm.pair_settings:read",
    "llm-joint": "solver.lm.settings:read",
    "llm": "solver.lm.settings:read",
    "induce": "solver.lm.induce_settings:read",
}
READY = {
    "joint": "solver.lm.pair_settings:check",
    "model": "solver.lm.pair_settings:check",
    "llm-joint": "solver.lm.ready:check",
    "llm": "solver.lm.ready:check",
    "induce": "solver.lm.induce_settings:check",
}


def check_engine(name: str) -> None:
    """Raise `DataError` unless `name` is an engine or `module:function` of a module on the path.

    A notebook leaves out the modules of other engines than its own. The module is only looked
    for: importing it is a worker's business.
    """
    module, colon, _ = ENGINES.get(name, name).partition(":")
    # An own engine's parent packages must not be imported to look for it.
    if not colon or not _on_path(module if name in ENGINES else module.partition(".")[0]):
        known = ", ".join(e for e, place in ENGINES.items() if _on_path(place.partition(":")[0]))
        raise DataError(f"--engines {name}: no such engine; there are {known}, or module:function")


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raise `DataError` unless the engine takes these settings; any, if it is one's own."""
    if name in SETTINGS:
        _function(SETTINGS[name])(settings)
    elif name in ENGINES and settings:
        raise DataError(f"{name}: takes no settings, not {next(iter(settings))!r} either")


def check_ready(name: str, settings: Mapping[str, Any], memory_mb: int) -> None:
    """Raise `DataError` for what would end the engine's first job: a file that is missing or
    torn, a library, too little memory. Nothing is loaded; `memory_mb` is a worker's limit."""
    if name in READY:
        _function(READY[name])(settings, memory_mb)


def load_engine(name: str, context: Context) -> Engine:
    """Import an engine and let its module `prepare(context)`, if it has that: compile, load a
    model. What the context says of a pass means nothing then.

    That time is not charged to any task. Raises whatever the module raises.
    """
    place, _, function = ENGINES.get(name, name).partition(":")
    module = importlib.import_module(place)
    engine: Engine = getattr(module, function)
    getattr(module, "prepare", lambda context: None)(context)
    return engine


def _function(place: str) -> Callable[..., None]:
    module, _, name = place.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module), name)
    return function


def _on_path(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
