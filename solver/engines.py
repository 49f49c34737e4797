"""Engines: what can propose candidates for a task.

An engine is a function `(task, deadline, context) -> iterator of Candidate`. It yields what
it finds as soon as it finds it and returns when it has nothing left or its deadline passed.
The engine of a stage that is one job over all tasks gets them all and yields nothing.
`module:function` names an engine of your own, for any command that takes `--engines`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from solver.deadline import Deadline
from solver.grid import Candidate, DataError, Task
from solver.ladder import FULL, Rung


@dataclass(frozen=True)
class Context:
    """What an engine may know besides the task: the pass (0 first), its own seed, the folder
    where the run's workers leave things for one another, and how far to spare memory."""

    pass_: int
    seed: int
    folder: Path = Path()
    rung: Rung = FULL


Engine = Callable[[Task, Deadline, Context], Iterator[Candidate]]

# Named by where they live, so that only the worker that runs one imports what it needs.
ENGINES = {
    "synth": "solver.synth.engine:synth",
    "joint": "solver.lm.joint:joint",
    "model": "solver.lm.engine:model",
}


def check_engine(name: str) -> None:
    """Raise `DataError` unless `name` is an engine or `module:function` of a module on the path.

    The module is only looked for: importing it is a worker's business.
    """
    package = name.partition(":")[0].partition(".")[0]
    if name not in ENGINES and (":" not in name or not _on_path(package)):
        known = ", ".join(ENGINES)
        raise DataError(f"--engines {name}: no such engine; there are {known}, or module:function")


def load_engine(name: str, folder: Path) -> Engine:
    """Import an engine and let its module `prepare(folder)`, if it has that: compile, load a
    model. `folder` is that of `Context`.

    That time is not charged to any task. Raises whatever the module raises.
    """
    place, _, function = ENGINES.get(name, name).partition(":")
    module = importlib.import_module(place)
    engine: Engine = getattr(module, function)
    getattr(module, "prepare", lambda folder: None)(folder)
    return engine


def _on_path(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
